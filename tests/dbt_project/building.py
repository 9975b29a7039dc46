"""dbt in this process, so that a test may build a dozen times, and the tables a build leaves behind."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
from dbt.cli.main import dbtRunner

from warehouse.settings import Settings, load_settings

PROJECT = Path(__file__).parents[2] / "dbt_project"

# What holds rows of its own: all a second build has to do. A full refresh drops views over tables, so it builds more.
TABLES_ONLY = tuple(
    f"path:models/{layer},config.materialized:{kind}"
    for layer in ("intermediate", "marts", "features")
    for kind in ("incremental", "table")
)
ALL_BUT_STAGING = ("path:models/intermediate", "path:models/marts", "path:models/features")

# Rebuilt or redone as a whole: must be equal in every row.
WHOLE_TABLES = (
    "marts.fct_user_days",
    "marts.fct_user_years",
    "marts.fct_user_devices",
    "marts.fct_user_lapses",
    "marts.fct_user_category_months",
    "marts.fct_exposures",
    "features.label_example_return_14d",
    "features.training_examples",
    "marts.fct_user_refund_days",
    "intermediate.int_friendships_mirrored",
)
FEATURE_TOPICS = (
    *("behaviour", "money", "rhythm", "level", "lapses", "devices", "interactions", "items", "social", "contacts"),
    *("profile", "event_types"),
)

# What dbt builds and others read, with nothing in it that depends on when it was built.
SCHEMAS = ("marts", "features")


# Projects that were read, by their folder and the settings they were read with.
_READ: dict[tuple[Path, str], Any] = {}


def run_dbt_here(
    arguments: Sequence[str],
    settings: Settings,
    as_of_date: date,
    target_folder: Path | None = None,
    project_folder: Path = PROJECT,
) -> Any:
    """Run a dbt command as `local.chain.run_dbt` does, in this process and with a project that is read once.

    Raises:
        AssertionError: a model, test or exposure failed.
    """
    target_folder = target_folder or settings.state_folder / "dbt"
    manifest = read_project(settings, as_of_date, target_folder, project_folder)
    return _invoke(dbtRunner(manifest=manifest), arguments, settings, as_of_date, target_folder, project_folder)


def read_project(settings: Settings, as_of_date: date, target_folder: Path, project_folder: Path = PROJECT) -> Any:
    """Return dbt's manifest of the project for a warehouse; valid until it is asked for another one.

    Reading takes as long as building, and depends on settings, but neither on the date nor on the warehouse.
    """
    variables = {**settings.dbt_vars(as_of_date), "as_of_date": ""}
    key = (project_folder, json.dumps(variables))
    if key not in _READ:
        _READ[key] = _invoke(dbtRunner(), ["parse"], settings, as_of_date, target_folder, project_folder)
    database = settings.dbt_environment()["REKINDLE_DBT_DATABASE"]
    for node in (*_READ[key].nodes.values(), *_READ[key].sources.values()):
        if node.relation_name:
            node.relation_name = node.relation_name.replace(f'"{node.database}".', f'"{database}".', 1)
        node.database = database
    return _READ[key]


def _invoke(
    runner: dbtRunner,
    arguments: Sequence[str],
    settings: Settings,
    as_of_date: date,
    target_folder: Path,
    project_folder: Path,
) -> Any:
    command = [
        *arguments,
        *("--project-dir", str(project_folder), "--profiles-dir", str(project_folder)),
        *("--target-path", str(target_folder), "--log-path", str(target_folder), "--log-level-file", "none"),
        *("--vars", json.dumps(settings.dbt_vars(as_of_date))),
        *("--quiet", "--no-partial-parse"),
    ]
    with mock.patch.dict(os.environ, settings.dbt_environment()):
        outcome = runner.invoke(command)
    if outcome.exception is not None:
        raise outcome.exception
    failed = [
        f"{result.node.name}: {result.message}"
        for result in getattr(outcome.result, "results", ())
        if result.status in ("error", "fail")
    ]
    assert not failed, "\n".join(failed)
    return outcome.result


class DbtProject:
    """The project (or a changed copy of it), built in a warehouse as often as asked."""

    def __init__(self, target_folder: Path, project_folder: Path = PROJECT) -> None:
        self._target_folder = target_folder
        self._project_folder = project_folder

    @property
    def target_folder(self) -> Path:
        """Where dbt writes what it compiled."""
        return self._target_folder

    def read(self, url: str, as_of_date: date = date(2026, 1, 1)) -> Any:
        """Return dbt's manifest of the project."""
        return read_project(_settings(url), as_of_date, self._target_folder, self._project_folder)

    def build(
        self,
        url: str,
        as_of_date: date,
        *,
        command: str = "run",
        select: Sequence[str] = (),
        full_refresh: bool = False,
        **changed: Any,
    ) -> dict[str, str]:
        """Run a dbt command on the warehouse at `url`, with `changed` settings; return each node's status by name."""
        more = ["--select", *select] if select else []
        more += ["--full-refresh"] if full_refresh else []
        settings = replace(_settings(url), **changed)
        results = run_dbt_here([command, *more], settings, as_of_date, self._target_folder, self._project_folder)
        return {result.node.name: str(result.status) for result in results}


def _settings(url: str) -> Settings:
    return replace(load_settings(), warehouse_url=url)


# What tells how a row came to be, not what it says.
BOOKKEEPING = ("change_number", "valid_from_date", "valid_until_date")


def rows_of(url: str, relation: str, condition: str = "true") -> list[str]:
    """Return the rows of a relation as text, sorted; columns by name, so that their order does not matter.

    Left out are the columns of `BOOKKEEPING`.
    """
    with psycopg.connect(url) as connection:
        connection.execute("set time zone 'UTC'")
        schema, name = relation.split(".")
        columns = connection.execute(
            "select attname from pg_attribute where attrelid = format('%%I.%%I', %s::text, %s::text)::regclass"
            " and attnum > 0 and not attisdropped and attname <> all(%s) order by attname",
            (schema, name, list(BOOKKEEPING)),
        ).fetchall()
        listed = ", ".join(f'"{column}"' for (column,) in columns)
        found = connection.execute(f"select row({listed})::text from {relation} where {condition}").fetchall()
    return sorted(row for (row,) in found)


def relations_of(url: str, schemas: Sequence[str] = SCHEMAS) -> list[str]:
    """List the tables and views dbt built."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "select table_schema || '.' || table_name from information_schema.tables"
            " where table_schema = any(%s) order by 1",
            (list(schemas),),
        ).fetchall()
    return [name for (name,) in found]


def hashes_of(url: str, condition: str = "true", relations: Sequence[str] | None = None) -> dict[str, str]:
    """Return a SHA-256 of the sorted rows of each relation."""
    return {
        relation: hashlib.sha256("\n".join(rows_of(url, relation, condition)).encode()).hexdigest()
        for relation in (relations if relations is not None else relations_of(url))
    }


def also_in_a_full_build(last_date: date, key: str = "user_id, as_of_date") -> str:
    """Return the condition on rows of features that one full build for `last_date` has, too.

    Days before it were built as well, for everybody; a full build has the rows of examples alone. By `event_type`, too,
    where daily runs alone have rows of examples towards another type of event that was open at an earlier run.
    """
    return (
        f"(as_of_date = '{last_date}' or ({key}) in"
        f" (select {key} from features.training_examples where as_of_date < '{last_date}'))"
    )
