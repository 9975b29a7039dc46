"""Builds marts, features and labels as of the date with dbt.

**What it does.** One dbt build a layer, through Cosmos: `build_marts` (staging, intermediate, marts), `build_features`
(features, labels, training examples, sums of campaigns, and the views for BI). Each build runs the models and their
tests; a failed test stops what comes after it.

**Safe to clear?** Yes. Marts hold all that landed; a date's features are deleted and written again in one transaction.

**When it is late or red.** The log names the model or test. `python -m local dbt build --select <model>` runs it alone.

**Who waits for it.** `retrain_models` and `score_users`, through the asset `features.feat_user_behaviour`.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import DAG, PartitionedAssetTimetable
from cosmos import ProfileConfig
from cosmos.constants import InvocationMode
from cosmos.operators.local import DbtBuildLocalOperator

from dags.assets import LANDED_SESSIONS, USER_FEATURES
from dags.stages import DEFAULT_ARGUMENTS, PROJECT_FOLDER, as_of_date_of

DBT_PROJECT = PROJECT_FOLDER / "dbt_project"


def pass_settings(context, operator) -> None:
    """Give dbt the settings of this very run, so that a changed rekindle.toml needs no restart of Airflow."""
    from warehouse.settings import load_settings

    settings = load_settings()
    operator.vars = settings.dbt_vars(as_of_date_of(context))
    operator.env = settings.dbt_environment()


def tell_rows(project_folder: str, context) -> None:
    """Report the rows that the models have written, from dbt's own account of the run."""
    account = json.loads((Path(project_folder) / "target" / "run_results.json").read_text(encoding="utf-8"))
    models = [result for result in account["results"] if result["unique_id"].startswith("model.")]
    # A view affects -1 rows.
    rows = sum(max(0, result["adapter_response"].get("rows_affected") or 0) for result in models)
    told = {"rows": rows, "messages": [f"dbt built {len(models)} models."]}
    context["ti"].xcom_push(key="return_value", value=told)


def build_layer(task_id: str, select: str, **arguments) -> DbtBuildLocalOperator:
    """One dbt build of the models that `select` names, as one task."""
    return DbtBuildLocalOperator(
        task_id=task_id,
        project_dir=str(DBT_PROJECT),
        profile_config=ProfileConfig(
            profile_name="rekindle",
            target_name="warehouse",
            profiles_yml_filepath=DBT_PROJECT / "profiles.yml",
        ),
        select=select,
        interceptors=[pass_settings],
        callback=tell_rows,
        invocation_mode=InvocationMode.DBT_RUNNER,
        install_deps=False,
        # Unit tests try the SQL on made-up rows: they belong to `make test`, not to every night.
        dbt_cmd_flags=["--exclude-resource-type", "unit_test"],
        append_env=True,
        # Cosmos would emit assets of its own, named after host and port; ours are in assets.py.
        emit_datasets=False,
        should_store_compiled_sql=False,
        **arguments,
    )


with DAG(
    dag_id="build_features",
    doc_md=__doc__,
    schedule=PartitionedAssetTimetable(assets=LANDED_SESSIONS),
    start_date=datetime(2018, 1, 1, tzinfo=UTC),
    catchup=False,
    # Two dates at once would rebuild the same marts.
    max_active_runs=1,
    default_args=DEFAULT_ARGUMENTS,
    tags=["rekindle", "dbt"],
) as dag:
    build_marts = build_layer("build_marts", "path:models/staging path:models/intermediate path:models/marts")
    # Sums of campaigns are small and reports are views: tasks of their own would only pay for starting dbt once more.
    build_features = build_layer(
        "build_features",
        "path:models/features path:models/experiments path:models/reporting",
        outlets=[USER_FEATURES],
    )

    build_marts >> build_features
