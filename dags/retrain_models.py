"""Keeps a champion model in place: trains a challenger when one is due, promotes it only if it is better.

**What it does.** For each date that has fresh features, or on which `watch_drift` raised an alert, `train_models` looks
whether the champion is younger than `retrain_after_days` and nothing drifted; if so it confirms it, otherwise it trains
a challenger on what was known at that date and promotes it when it beats the champion on the same later data.

**Safe to clear?** Yes. A model's version is a hash of what it learned: the same data gives the same version.

**When it is late or red.** The old champion stays in place; `score_users` waits. Clear the run when mended.

**Who waits for it.** `score_users`, through the asset `predictions.model_versions`.
"""

from datetime import UTC, datetime

from airflow.sdk import DAG, PartitionedAssetTimetable, task

from dags.assets import DRIFT, MODEL_VERSIONS, USER_FEATURES
from dags.stages import DEFAULT_ARGUMENTS, run_stage

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

    @task(outlets=[MODEL_VERSIONS])
    def train_models() -> dict:
        """Train and compare where it is due, and confirm the champion."""
        from ml.pipelines.train import train_models

        return run_stage(train_models, outlet=MODEL_VERSIONS)

    train_models()
