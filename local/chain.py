"""The chain without Airflow: the same stages in the same order, in this process, for evaluation and tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

from local.errors import LocalError
from ml.contracts import StageReport
from warehouse.settings import Settings

Stage = Callable[[date, Settings], StageReport]

# What dags/build_features.py builds as three tasks; here one dbt run is faster.
DBT_LAYERS = ("staging", "intermediate", "marts", "features", "experiments", "reporting")


def run_dbt(arguments: Sequence[str], settings: Settings, as_of_date: date, target_folder: Path | None = None) -> str:
    """Run a dbt command with the project's settings and return what it printed.

    Args:
        arguments: the command and its options, for example `["build", "--select", "dim_users"]`.
        settings: where the warehouse is and which windows hold.
        as_of_date: the date of the run.
        target_folder: where dbt writes its artefacts; runs at the same time need one each.

    Raises:
        LocalError: dbt ended with an error; the message ends with what dbt printed last.
    """
    project = settings.project_folder / "dbt_project"
    target = target_folder or settings.state_folder / "dbt"
    command = [
        str(Path(sys.executable).with_name("dbt")),
        *arguments,
        *("--project-dir", str(project), "--profiles-dir", str(project)),
        *("--target-path", str(target), "--log-path", str(target / "logs")),
        *("--vars", json.dumps(settings.dbt_vars(as_of_date))),
    ]
    result = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **settings.dbt_environment()}, check=False
    )
    if result.returncode != 0:
        tail = "\n".join(result.stdout.strip().splitlines()[-25:])
        raise LocalError(f"dbt {arguments[0]} failed:\n{tail}\n{result.stderr.strip()}")
    return result.stdout


def build_features(as_of_date: date, settings: Settings) -> StageReport:
    """Build every dbt layer and run its tests."""
    selection = [word for layer in DBT_LAYERS for word in ("--select", f"path:models/{layer}")]
    run_dbt(["build", *selection, "--exclude-resource-type", "unit_test"], settings, as_of_date)
    return StageReport(stage="build_features", as_of_date=as_of_date, rows=0)


def stages() -> dict[str, Stage]:
    """The stages of the chain by name, in their order."""
    from expectations.gate import validate_landed, validate_predictions
    from ml.pipelines.decide import decide_targets
    from ml.pipelines.effects import measure_effects
    from ml.pipelines.measure import measure_campaigns
    from ml.pipelines.publish import publish_targets
    from ml.pipelines.score import score_users
    from ml.pipelines.train import train_models
    from warehouse.landing import land_source

    return {
        "land_source": land_source,
        "validate_landed": validate_landed,
        "build_features": build_features,
        "train_models": train_models,
        "score_users": score_users,
        "measure_effects": measure_effects,
        "measure_campaigns": measure_campaigns,
        "decide_targets": decide_targets,
        "validate_predictions": validate_predictions,
        "publish_targets": publish_targets,
    }


def run_chain(settings: Settings, as_of_date: date, *, until: str | None = None) -> list[StageReport]:
    """Run the chain for one date.

    Args:
        settings: the settings in force; `settings.source_folder` must hold files in the source contract.
        as_of_date: the date everything is computed for.
        until: name of the last stage to run; the whole chain by default.

    Returns:
        One report a stage, in the order of the chain.
    """
    reports = []
    for name, stage in stages().items():
        reports.append(stage(as_of_date, settings))
        if name == until:
            break
    return reports
