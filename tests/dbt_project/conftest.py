"""The project, built in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dbt_project.building import DbtProject


@pytest.fixture(scope="session")
def dbt_project(tmp_path_factory: pytest.TempPathFactory) -> DbtProject:
    """The project as it stands in the repository."""
    folder: Path = tmp_path_factory.mktemp("dbt")
    return DbtProject(folder)
