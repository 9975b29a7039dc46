"""What tests of every room share: one real Postgres server a test process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from local.postgres import EmbeddedPostgres
from warehouse.door import Warehouse
from warehouse.migrations import migrate
from warehouse.settings import Settings, load_settings

DATABASE_NUMBERS = count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make chaos` kill more often than `make test` has time for."""
    parser.addoption("--kills", type=int, default=3, help="how often a running chain is killed")


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A running embedded server, empty but for its own databases; gone after the tests."""
    with tempfile.TemporaryDirectory(prefix="rekindle-tests-") as folder:
        Path(folder).chmod(0o711)  # as root the server is another user, who has to get in
        # What a test has written is thrown away: waiting for the disk would prove nothing here.
        server = EmbeddedPostgres(
            Path(folder) / "postgres",
            settings={"fsync": "off", "full_page_writes": "off", "shared_buffers": "256MB"},
        )
        server.start()
        try:
            yield server
        finally:
            server.remove()


@pytest.fixture(scope="session")
def warehouse_template(postgres: EmbeddedPostgres) -> str:
    """Name of a database that was migrated once and is only ever copied."""
    postgres.ensure_database("warehouse_template")
    migrate(postgres.url("warehouse_template"))
    return "warehouse_template"


@pytest.fixture
def make_warehouse_url(postgres: EmbeddedPostgres, warehouse_template: str) -> Iterator[Callable[..., str]]:
    """Give a fresh migrated warehouse, or a copy of another one, at every call, all of them gone after the test."""
    names: list[str] = []

    def make(copied_from: str = "") -> str:
        name = f"warehouse_{next(DATABASE_NUMBERS)}"
        template = conninfo_to_dict(copied_from)["dbname"] if copied_from else warehouse_template
        with psycopg.connect(postgres.url(), autocommit=True) as connection:
            # Pools may hold sessions that nobody uses any more, and a database in use is not copied.
            connection.execute(
                "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = %s", (template,)
            )
            connection.execute(f"create database {name} template {template}")
        names.append(name)
        return postgres.url(name)

    yield make
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        for name in names:
            connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def warehouse_url(make_warehouse_url: Callable[[], str]) -> str:
    """Address of a fresh migrated warehouse, gone after the test."""
    return make_warehouse_url()


@pytest.fixture
def warehouse(warehouse_url: str) -> Warehouse:
    """The door to a fresh migrated warehouse."""
    return Warehouse(warehouse_url)


@pytest.fixture
def settings(warehouse_url: str, tmp_path: Path) -> Settings:
    """The project's settings, with a fresh migrated warehouse and folders of the test's own."""
    return replace(
        load_settings(),
        warehouse_url=warehouse_url,
        is_warehouse_given=False,
        tracking_uri=f"sqlite:///{tmp_path}/mlflow.db",
        state_folder=tmp_path / "state",
        source=str(tmp_path / "source"),
    )
