"""Every DAG loads, says how it is run, and waits for assets instead of clocks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
EXPECTED_CHAIN = {
    "ingest_sources": ([], ["raw.sessions"]),
    "build_features": (["raw.sessions"], ["features.feat_user_behaviour"]),
    "retrain_models": (["features.feat_user_behaviour", "predictions.drift"], ["predictions.model_versions"]),
    "score_users": (["features.feat_user_behaviour", "predictions.model_versions"], ["predictions.decisions"]),
    "publish_targets": (["predictions.decisions"], ["marketing.targets"]),
    "watch_drift": (["marketing.targets"], ["predictions.drift"]),
    "measure_campaigns": (["features.feat_user_behaviour"], ["experiments.campaigns"]),
}
LOOK = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
heavy = {"pandas", "sklearn", "catboost", "mlflow", "great_expectations", "duckdb"}
bag = DagBag(sys.argv[1])
dags = {}
for dag_id, dag in bag.dags.items():
    condition = getattr(dag.timetable, "asset_condition", None)
    dags[dag_id] = {
        "file": dag.fileloc,
        "doc": dag.doc_md,
        "tags": sorted(dag.tags),
        "waits_for": sorted(asset.name for asset in getattr(condition, "objects", [condition])) if condition else [],
        "emits": sorted(asset.name for task in dag.tasks for asset in task.outlets),
        "owners": sorted({task.owner for task in dag.tasks}),
        "retries": min(task.retries for task in dag.tasks),
        "max_active_runs": dag.max_active_runs,
    }
ours = sorted(heavy & {module for module in sys.modules if "." not in module and module in heavy})
print("LOOKED " + json.dumps({"dags": dags, "errors": bag.import_errors, "heavy": ours}))
"""


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What Airflow sees in dags/, loaded in a process and a home of its own."""
    home = tmp_path_factory.mktemp("airflow")
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "PYTHONPATH": str(PROJECT),
    }
    result = subprocess.run(
        [sys.executable, "-c", LOOK, str(PROJECT / "dags")], capture_output=True, text=True, env=environment, cwd=home
    )
    lines = [line for line in result.stdout.splitlines() if line.startswith("LOOKED ")]
    assert lines, result.stdout + result.stderr
    return json.loads(lines[-1].removeprefix("LOOKED "))


def test_every_dag_loads_and_the_bag_is_not_empty(bag: dict) -> None:
    assert bag["errors"] == {}
    assert set(bag["dags"]) == set(EXPECTED_CHAIN)


def test_dags_are_joined_by_assets(bag: dict) -> None:
    for dag_id, (waits_for, emits) in EXPECTED_CHAIN.items():
        assert (bag["dags"][dag_id]["waits_for"], bag["dags"][dag_id]["emits"]) == (waits_for, emits), dag_id


def test_every_dag_has_a_runbook_an_owner_tags_and_retries(bag: dict) -> None:
    for dag_id, dag in bag["dags"].items():
        assert Path(dag["file"]).stem == dag_id
        for heading in ("What it does", "Safe to clear?", "When it is late or red", "Who waits for it"):
            assert heading in dag["doc"], f"{dag_id} does not say: {heading}"
        assert dag["owners"] == ["data-platform"]
        assert "rekindle" in dag["tags"]
        assert dag["retries"] >= 1
        assert dag["max_active_runs"] == 1


def test_parsing_imports_no_heavy_library(bag: dict) -> None:
    """DAG files import our code inside tasks, so that parsing stays fast; Airflow's providers bring pandas."""
    assert set(bag["heavy"]) <= {"pandas"}


def test_a_run_without_a_usable_partition_key_says_what_to_do() -> None:
    """The date is the partition key; anything else is refused in one sentence."""
    script = (
        "from types import SimpleNamespace as N\n"
        "from dags.stages import as_of_date_of, MissingAsOfDateError\n"
        "assert str(as_of_date_of({'dag_run': N(partition_key='2018-01-02')})) == '2018-01-02'\n"
        "for key in (None, '', 'yesterday', '2018-13-01'):\n"
        "    try:\n"
        "        as_of_date_of({'dag_run': N(partition_key=key)})\n"
        "    except MissingAsOfDateError as error:\n"
        "        assert 'partition key' in str(error)\n"
        "    else:\n"
        "        raise SystemExit(f'{key!r} was accepted')\n"
        "print('REFUSED')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(PROJECT)}
    )
    assert "REFUSED" in result.stdout, result.stderr
