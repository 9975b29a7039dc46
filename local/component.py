"""Runs one Airflow component, with what it and its children need already imported.

    python -m local.component --when MARKER VERSION NAME [ARGUMENT ...]

The scheduler forks a process for every task. What it has imported by then costs a task nothing, neither seconds nor
memory; our own modules are not among it, so that a task always runs the code that is on the disk. Imports take longer
than anything else at a start, so they are done while Airflow's database is still being migrated: the component itself
begins when the file MARKER says VERSION.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
import time
from pathlib import Path

from local.files import is_marked

__all__ = ["PRELOADED", "main"]

TASK_MACHINERY = ("airflow.sdk.execution_time.task_runner", "airflow.sdk", "cosmos.operators.local")
PRELOADED: dict[str, tuple[str, ...]] = {
    "api-server": (
        "airflow.api_fastapi.app",
        "airflow.api_fastapi.core_api.app",
        "airflow.api_fastapi.core_api.routes.public",
        "airflow.api_fastapi.core_api.routes.ui",
        "airflow.api_fastapi.execution_api.routes",
    ),
    "scheduler": (
        "airflow.jobs.scheduler_job_runner",
        "airflow.executors.local_executor",
        *TASK_MACHINERY,
        "psycopg",
        "pandas",
        "pyarrow.parquet",
        "scipy.optimize",
        "scipy.stats",
        "sklearn.linear_model",
        "sklearn.cluster",
        "sklearn.isotonic",
        "sklearn.preprocessing",
        "catboost",
        "mlflow",
        "duckdb",
        "dbt.cli.main",
        "great_expectations",
    ),
    "dag-processor": ("airflow.jobs.dag_processor_job_runner", *TASK_MACHINERY),
    "triggerer": ("airflow.jobs.triggerer_job_runner",),
}
MIGRATION_TIMEOUT_SECONDS = 180


def main(arguments: list[str]) -> None:
    """Import, wait for the migration, and be the component."""
    parser = argparse.ArgumentParser(prog="python -m local.component")
    parser.add_argument("--when", nargs=2, required=True, metavar=("MARKER", "VERSION"))
    parser.add_argument("name", choices=sorted(PRELOADED))
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    for module in PRELOADED[options.name]:
        # A library that is missing or broken is reported by the task that needs it.
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    marker, version = options.when
    deadline = time.monotonic() + MIGRATION_TIMEOUT_SECONDS
    while not is_marked(Path(marker), version):
        if time.monotonic() > deadline:
            sys.exit(f"{marker} does not say {version} after {MIGRATION_TIMEOUT_SECONDS} s: the migration failed.")
        time.sleep(0.1)
    from airflow.__main__ import main as airflow

    sys.argv = ["airflow", options.name, *options.arguments]
    airflow()


if __name__ == "__main__":
    main(sys.argv[1:])
