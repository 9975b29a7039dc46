"""Runs one Airflow component, with the libraries its children need already imported: `python -m local.component NAME`.

The scheduler forks a process for every task. What it has imported by then costs a task nothing, neither seconds nor
memory; our own modules are not among it, so that a task always runs the code that is on the disk.
"""

from __future__ import annotations

import contextlib
import importlib
import sys

__all__ = ["PRELOADED", "main"]

TASK_MACHINERY = ("airflow.sdk.execution_time.task_runner", "airflow.sdk", "cosmos.operators.local")
PRELOADED: dict[str, tuple[str, ...]] = {
    "scheduler": (
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
    "dag-processor": TASK_MACHINERY,
}


def main(arguments: list[str]) -> None:
    """Import what the component `arguments[0]` hands on to its children, then be that component."""
    for module in PRELOADED.get(arguments[0], ()):
        # A library that is missing or broken is reported by the task that needs it.
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    from airflow.__main__ import main as airflow

    sys.argv = ["airflow", *arguments]
    airflow()


if __name__ == "__main__":
    main(sys.argv[1:])
