"""Lands the day's source files in the warehouse and checks that the batch as a whole is fit.

**What it does.** `land_source` checks the source's files against the source contract and puts every row into
`raw.<table>` or, with the reason, into `quarantine.rows`; `validate_landed` checks volume, freshness and ranges and
stops the chain when a critical expectation fails.

**Safe to clear?** Yes. Landing the same files twice changes nothing, and the partition key is the as_of_date.

**When it is late or red.** The task's last log line says what to do: a missing column or file is mended at the source,
then the run is cleared. Rows in `quarantine.rows` do not stop the chain; look at `reason` and `source`.

**Who waits for it.** `build_features`, through the asset `raw.sessions`.
"""

from datetime import timedelta

from airflow.sdk import DAG, CronPartitionTimetable, task

from dags.assets import LANDED_SESSIONS
from dags.stages import DEFAULT_ARGUMENTS, run_stage

with DAG(
    dag_id="ingest_sources",
    doc_md=__doc__,
    # A day is complete at midnight UTC; two hours are left for files that arrive late.
    # Without a start date a new installation waits for the next night; with one it would run last night's at once.
    schedule=CronPartitionTimetable(
        "0 2 * * *", timezone="UTC", key_format="%Y-%m-%d", run_immediately=timedelta(seconds=0)
    ),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGUMENTS,
    tags=["rekindle", "ingest"],
) as dag:

    @task
    def land_source() -> dict:
        """Check every row against the source contract and land it."""
        from warehouse.landing import land_source

        return run_stage(land_source)

    @task(outlets=[LANDED_SESSIONS])
    def validate_landed() -> dict:
        """Check the landed tables as a whole; a critical failure stops the chain here."""
        from expectations.gate import validate_landed

        return run_stage(validate_landed, outlet=LANDED_SESSIONS)

    land_source() >> validate_landed()
