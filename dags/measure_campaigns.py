"""Measures what campaigns did, against the users who were held back on purpose.

**What it does.** dbt has added up, for each campaign and arm, who returned, who paid and how much (`build_features`);
`measure_campaigns` compares the arms and writes the result with a decision in words. Marketing and BI read
`reporting.campaign_performance`. A campaign that does harm is stopped: from the next date on nobody is invited to it.

**Safe to clear?** Yes. A date's rows are deleted and written again in one transaction, and come out the same.

**When it is late or red.** Decisions go on with what was measured before; `reporting.campaign_performance` shows it.

**Who waits for it.** Nobody: the next date's `decide_targets` reads which campaigns were stopped before it.
"""

from datetime import UTC, datetime

from airflow.sdk import DAG, PartitionedAssetTimetable, task

from dags.assets import CAMPAIGNS, USER_FEATURES
from dags.stages import DEFAULT_ARGUMENTS, run_stage

with DAG(
    dag_id="measure_campaigns",
    doc_md=__doc__,
    schedule=PartitionedAssetTimetable(assets=USER_FEATURES),
    start_date=datetime(2018, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGUMENTS,
    tags=["rekindle", "experiments"],
) as dag:

    @task(outlets=[CAMPAIGNS])
    def measure_campaigns() -> dict:
        """Compare the arms of every campaign and say what to do."""
        from ml.pipelines.measure import measure_campaigns

        return run_stage(measure_campaigns, outlet=CAMPAIGNS)

    measure_campaigns()
