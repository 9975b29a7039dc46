"""Checks the predictions of a date and publishes them to marketing in one transaction.

**What it does.** `validate_predictions` checks that the decisions are complete and sane; `publish_targets` replaces
`marketing.targets`, `marketing.top_users` and `marketing.segment_profiles` as a whole.

**Safe to clear?** Yes. The same date gives the same rows. A date older than the published one is not published again.

**When it is late or red.** The old targets stay in place. The log of `validate_predictions` names each failed
expectation and why it is there.

**Who waits for it.** Marketing's views, the API, the dashboard and delivery, through the asset `marketing.targets`.
"""

from datetime import UTC, datetime

from airflow.sdk import DAG, PartitionedAssetTimetable, task

from dags.assets import DECISIONS, TARGETS
from dags.stages import DEFAULT_ARGUMENTS, run_stage

with DAG(
    dag_id="publish_targets",
    doc_md=__doc__,
    schedule=PartitionedAssetTimetable(assets=DECISIONS),
    start_date=datetime(2018, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGUMENTS,
    tags=["rekindle", "publish"],
) as dag:

    @task
    def validate_predictions() -> dict:
        """Check what is about to be published; a critical failure leaves the old targets in place."""
        from expectations.gate import validate_predictions

        return run_stage(validate_predictions)

    @task(outlets=[TARGETS])
    def publish_targets() -> dict:
        """Replace what marketing sees, as a whole or not at all."""
        from ml.pipelines.publish import publish_targets

        return run_stage(publish_targets, outlet=TARGETS)

    validate_predictions() >> publish_targets()
