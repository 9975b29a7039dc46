"""Watches whether users and predictions still look as they did when the models were trained, and asks for new ones.

**What it does.** After a date is published `watch_drift` compares every feature and prediction of the inactive users
with those of the date the models in charge were trained for (population stability index, Kolmogorov-Smirnov), and
chances with what happened once return windows are over. BI reads it in `reporting.system_health` and
`reporting.model_performance`. When a limit in `[alerts]` is passed, `ask_for_models` emits `predictions.drift`, and
`retrain_models` trains a challenger for the date although the champion is still young; from the next date on the better
of them scores.

**Safe to clear?** Yes. A date's rows are deleted and written again in one transaction, and come out the same.

**When it is late or red.** Nothing waits: models are trained by their age as ever, and `reporting.system_health` shows
when it was last checked.

**Who waits for it.** `retrain_models`, through the asset `predictions.drift`, when models are due.
"""

from datetime import UTC, datetime

from airflow.sdk import DAG, PartitionedAssetTimetable, task

from dags.assets import DRIFT, TARGETS
from dags.stages import DEFAULT_ARGUMENTS, run_stage

with DAG(
    dag_id="watch_drift",
    doc_md=__doc__,
    schedule=PartitionedAssetTimetable(assets=TARGETS),
    start_date=datetime(2018, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGUMENTS,
    tags=["rekindle", "models"],
) as dag:

    @task
    def watch_drift() -> dict:
        """Compare users, predictions and outcomes with the date of the models."""
        from ml.pipelines.watch_drift import watch_drift

        return run_stage(watch_drift)

    @task.short_circuit
    def is_alert(report: dict) -> bool:
        """Go on only when a limit was passed."""
        return bool(report["details"]["status"] == "alert")

    @task(outlets=[DRIFT])
    def ask_for_models() -> None:
        """Tell `retrain_models` that new models are due."""

    is_alert(watch_drift()) >> ask_for_models()
