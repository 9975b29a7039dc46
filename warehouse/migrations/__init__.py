"""Schemas, roles and the tables that dbt must not own, brought up to date by `migrate`."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from warehouse.door import Warehouse
from warehouse.migrations.consent_feed import feed_consent_ledger
from warehouse.migrations.raw_tables import reconcile_raw_tables
from warehouse.migrations.roles import grant_roles
from warehouse.settings import connection_parameters

__all__ = ["MIGRATION_LOCK", "MigrationError", "migrate"]

FOLDER = Path(str(files(__package__)))

# Number of the advisory lock that keeps two migrations of one database apart.
MIGRATION_LOCK = 7_302_801

# Oldest major version that all of our SQL was tried on.
OLDEST_POSTGRES = 14


class MigrationError(RuntimeError):
    """The warehouse cannot be brought up to date; the message says what to do."""


def migrate(url: str) -> tuple[str, ...]:
    """Bring the warehouse at `url` up to date; on one that is up to date nothing changes.

    Two processes may call it at once. The raw tables follow the source contract: what the contract gained is added,
    nothing is ever dropped.

    Returns:
        Sentences somebody should read, such as the SQL for roles that this login may not create.

    Raises:
        MigrationError: the login lacks a right, Postgres is too old, or the warehouse is of a newer version than
            this code.
    """
    parameters = connection_parameters(url)
    with Warehouse(url).connect() as answering:  # an address that does not answer stops here, with a sentence
        major = answering.info.server_version // 10_000
    if major < OLDEST_POSTGRES:
        raise MigrationError(
            f"The warehouse is Postgres {major}, and Rekindle needs {OLDEST_POSTGRES} or newer: upgrade the server, or"
            " let WAREHOUSE_URL name another one."
        )
    engine = create_engine(
        URL.create("postgresql+psycopg"), creator=lambda: psycopg.connect(url, connect_timeout=10), poolclass=NullPool
    )
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    try:
        with engine.connect() as connection:
            connection.execute(text("select pg_advisory_lock(:lock)"), {"lock": MIGRATION_LOCK})
            connection.commit()
            try:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                reconcile_raw_tables(connection)
                feed_consent_ledger(connection)
                connection.commit()
                notices = grant_roles(connection)
                connection.commit()
            finally:
                connection.rollback()
                connection.execute(text("select pg_advisory_unlock(:lock)"), {"lock": MIGRATION_LOCK})
                connection.commit()
    except Exception as error:
        cause = getattr(error, "orig", None)
        if isinstance(cause, psycopg.errors.InsufficientPrivilege):
            database = parameters.get("dbname", "the database")
            raise MigrationError(
                f"This login may not create schemas in {database} ({str(cause).splitlines()[0]}): as its owner run "
                f'grant create on database "{database}" to {parameters.get("user", "the login")}.'
            ) from error
        if type(error).__module__.startswith("alembic"):
            raise MigrationError(
                f"The warehouse cannot be brought up to date ({error}): it may be of a newer version than this code."
            ) from error
        raise
    return notices
