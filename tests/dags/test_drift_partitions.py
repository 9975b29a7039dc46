"""A training that drift asked for, or that runs again, leaves nothing behind that waits for ever, in a real Airflow."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]

# Airflow is configured by the first import, so all of it happens in a process of its own. The stages themselves are
# left out: what counts here is which events are emitted and what the scheduler makes of them.
PLAY = """
import json, sys
from datetime import date
from unittest.mock import patch

from airflow.utils.db import initdb

initdb()

from airflow.assets.manager import asset_manager
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
from airflow.jobs.job import Job
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.asset import AssetModel, AssetPartitionDagRun
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import clear_task_instances
from airflow.sdk.definitions.dag import _run_task
from airflow.utils.session import create_session
from sqlalchemy import select

from ml.contracts import StageReport

manager = DagBundlesManager()
manager.sync_bundles_to_db()
bag = BundleDagBag(sys.argv[1], bundle_path=sys.argv[1], bundle_name="dags-folder")
assert not bag.import_errors, bag.import_errors
sync_bag_to_db(bag, "dags-folder", None)
scheduler = SchedulerJobRunner(job=Job())


def look():
    '''What the scheduler does about partitions at each of its looks.'''
    with create_session() as session:
        session.add(scheduler.job)
        scheduler._create_dagruns_for_partitioned_asset_dags(session)


def arrive(asset, key):
    '''An event of an asset, as a task that emits it would leave it.'''
    with create_session() as session:
        found = session.scalar(select(AssetModel).where(AssetModel.name == asset))
        asset_manager.register_asset_change(asset=found, partition_key=key, session=session)
    look()


def run_training():
    '''Run the task of the run of retrain_models that was made last, as if it had not run yet.'''
    dag = bag.dags["retrain_models"]
    with create_session() as session:
        ours = select(DagRun).where(DagRun.dag_id == "retrain_models").order_by(DagRun.id.desc())
        run = session.scalars(ours).first()
        [instance] = run.get_task_instances(session=session)
        session.expunge_all()
    report = StageReport("train_models", date.fromisoformat(run.partition_key), 7, (), {})
    with patch("ml.pipelines.train.train_models", lambda *_: report), patch("warehouse.settings.load_settings"):
        _run_task(ti=instance, task=dag.get_task("train_models"))
    look()


def clear_training():
    '''Clear that run, as a person does on its page.'''
    with create_session() as session:
        ours = select(DagRun).where(DagRun.dag_id == "retrain_models").order_by(DagRun.id.desc())
        run = session.scalars(ours).first()
        clear_task_instances(run.get_task_instances(session=session), session)


def seen():
    with create_session() as session:
        runs = [
            [run.dag_id, run.partition_key]
            for run in session.scalars(select(DagRun).order_by(DagRun.id))
            if run.dag_id in ("retrain_models", "score_users")
        ]
        waiting = [
            [waits.target_dag_id, waits.partition_key]
            for waits in session.scalars(
                select(AssetPartitionDagRun).where(AssetPartitionDagRun.created_dag_run_id.is_(None))
            )
        ]
    return {"runs": runs, "waiting": waiting}


told = {}
arrive("features.feat_user_behaviour", "2018-01-02")
told["features came"] = seen()
run_training()
told["trained"] = seen()
clear_training()
run_training()
told["cleared and trained again"] = seen()
arrive("predictions.drift", "2018-01-02")
run_training()
told["trained after drift"] = seen()
arrive("features.feat_user_behaviour", "2018-01-03")
run_training()
told["the next day"] = seen()
print("PLAYED " + json.dumps(told))
"""


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[list[str]]]]:
    home = tmp_path_factory.mktemp("airflow")
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "false",
        "PYTHONPATH": str(PROJECT),
    }
    result = subprocess.run(
        [sys.executable, "-c", PLAY, str(PROJECT / "dags")], capture_output=True, text=True, env=environment, cwd=home
    )
    lines = [line for line in result.stdout.splitlines() if line.startswith("PLAYED ")]
    assert lines, result.stdout[-4000:] + result.stderr[-4000:]
    told: dict[str, dict[str, list[list[str]]]] = json.loads(lines[-1].removeprefix("PLAYED "))
    return told


def test_a_date_is_scored_once_features_and_models_are_there(played: dict) -> None:
    assert played["features came"]["runs"] == [["retrain_models", "2018-01-02"]]
    assert ["score_users", "2018-01-02"] in played["features came"]["waiting"]
    assert ["score_users", "2018-01-02"] in played["trained"]["runs"]
    assert played["trained"]["waiting"] == []


def test_a_training_that_is_cleared_and_run_again_scores_nothing_again_and_nothing_waits(played: dict) -> None:
    assert played["cleared and trained again"] == played["trained"]


def test_a_training_after_drift_scores_nothing_again_and_nothing_waits(played: dict) -> None:
    before, after = played["trained"], played["trained after drift"]
    assert after["runs"] == [*before["runs"], ["retrain_models", "2018-01-02"]]
    assert after["waiting"] == []


def test_the_next_day_goes_through_the_chain(played: dict) -> None:
    [first, second] = played["the next day"]["runs"][-2:]
    assert (first, second) == (["retrain_models", "2018-01-03"], ["score_users", "2018-01-03"])
    assert played["the next day"]["waiting"] == []
