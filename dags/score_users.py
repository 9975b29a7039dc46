"""Scores every inactive user and decides who is invited to what.

**What it does.** `score_users` writes segment, chances, value and the best three events of every inactive user;
`measure_effects` says what each kind of event did to each segment, and on which evidence; `decide_targets` gives every
inactive user one decision within budget, capacity, consent and control groups.

**Safe to clear?** Yes. A date's rows are deleted and written again in one transaction, and come out the same.

**When it is late or red.** What marketing sees stays as it was: nothing here is visible before `publish_targets`.

**Who waits for it.** `publish_targets`, through the asset `predictions.decisions`.
"""

from datetime import UTC, datetime

from airflow.sdk import DAG, PartitionedAssetTimetable, task

from dags.assets import DECISIONS, MODEL_VERSIONS, USER_FEATURES
from dags.stages import DEFAULT_ARGUMENTS, run_stage

with DAG(
    dag_id="score_users",
    doc_md=__doc__,
    schedule=PartitionedAssetTimetable(assets=USER_FEATURES & MODEL_VERSIONS),
    start_date=datetime(2018, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGUMENTS,
    tags=["rekindle", "models"],
) as dag:

    @task
    def score_users() -> dict:
        """Segments, chances and value of every inactive user."""
        from ml.pipelines.score import score_users

        return run_stage(score_users)

    @task
    def measure_effects() -> dict:
        """What each kind of event did to each segment."""
        from ml.pipelines.effects import measure_effects

        return run_stage(measure_effects)

    @task(outlets=[DECISIONS])
    def decide_targets() -> dict:
        """One decision for every inactive user."""
        from ml.pipelines.decide import decide_targets

        return run_stage(decide_targets, outlet=DECISIONS)

    score_users() >> measure_effects() >> decide_targets()
