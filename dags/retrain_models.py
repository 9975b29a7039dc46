"""Keeps a champion model in place: trains a challenger when one is due, promotes it only if it is better.

**What it does.** For each date that has fresh features, or on which `watch_drift` raised an alert, `train_models` looks
whether the champion is younger than `retrain_after_days` and nothing drifted; if so it confirms it, otherwise it trains
a challenger on what was known at that date and promotes it when it beats the champion on the same later data.

Only dates whose features came in go on to `score_users`: an alert comes after its date was published, and what is
trained then scores from the next date on. Were it emitted all the same, `score_users` would keep a partition that waits
for features for ever. For the same reason a run says once that its date has models, however often it is run.

**Safe to clear?** Yes. A model's version is a hash of what it learned: the same data gives the same version. Users were
scored when the run succeeded first; where they should be scored by what it learns now, clear `score_users`, too.

**When it is late or red.** The old champion stays in place; `score_users` waits. Clear the run when mended.

**Who waits for it.** `score_users`, through the asset `predictions.model_versions`.
"""

from datetime import UTC, datetime

from airflow.sdk import DAG, PartitionedAssetTimetable, task

from dags.assets import CONFIRMED_VERSIONS, DRIFT, MODEL_VERSIONS, USER_FEATURES
from dags.stages import DEFAULT_ARGUMENTS, emit, has_emitted, run_stage, was_started_by

with DAG(
    dag_id="retrain_models",
    doc_md=__doc__,
    schedule=PartitionedAssetTimetable(assets=USER_FEATURES | DRIFT),
    start_date=datetime(2018, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGUMENTS,
    tags=["rekindle", "models"],
) as dag:

    @task(inlets=[MODEL_VERSIONS], outlets=[CONFIRMED_VERSIONS])
    def train_models() -> dict:
        """Train and compare where it is due, and confirm the champion."""
        from ml.pipelines.train import train_models

        told = run_stage(train_models)
        if not (was_started_by(DRIFT) or has_emitted(MODEL_VERSIONS)):
            emit(MODEL_VERSIONS, told, alias=CONFIRMED_VERSIONS)
        return told

    train_models()
