"""dbt in this process, so that a test may build a dozen times, and the tables a build leaves behind."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
from dbt.cli.main import dbtRunner

from warehouse.settings import load_settings

PROJECT = Path(__file__).parents[2] / "dbt_project"

# What dbt builds and others read, with nothing in it that depends on when it was built.
SCHEMAS = ("marts", "features")


class DbtProject:
    """The project (or a changed copy of it), read once and built as often as asked."""

    def __init__(self, target_folder: Path, project_folder: Path = PROJECT) -> None:
        self._target_folder = target_folder
        self._project_folder = project_folder
        self._manifest: Any = None

    def build(
        self,
        url: str,
        as_of_date: date,
        *,
        command: str = "run",
        select: Sequence[str] = (),
        full_refresh: bool = False,
        variables: Mapping[str, object] | None = None,
    ) -> dict[str, str]:
        """Run a dbt command on the warehouse at `url` and return the status of each node by its name.

        Variables other than those of the settings need a project that was not read yet where they decide which models
        there are.
        """
        settings = replace(load_settings(), warehouse_url=url)
        arguments = [
            command,
            *("--project-dir", str(self._project_folder), "--profiles-dir", str(self._project_folder)),
            *("--target-path", str(self._target_folder), "--log-path", str(self._target_folder)),
            *("--vars", str({**settings.dbt_vars(as_of_date), **(variables or {})})),
            *("--quiet", "--no-partial-parse"),
        ]
        if select:
            arguments += ["--select", *select]
        if full_refresh:
            arguments.append("--full-refresh")
        with mock.patch.dict(os.environ, settings.dbt_environment()):
            if self._manifest is None:
                parse = [word for word in arguments[:-1] if word != "--full-refresh"]
                if select:
                    parse = parse[: parse.index("--select")]
                self._manifest = dbtRunner().invoke(["parse", *parse[1:], "--no-partial-parse"]).result
            outcome = dbtRunner(manifest=self._manifest).invoke(arguments)
        if outcome.exception is not None:
            raise outcome.exception
        results = outcome.result if command != "parse" else []
        failed = [f"{result.node.name}: {result.message}" for result in results if result.status in ("error", "fail")]
        assert not failed, "\n".join(failed)
        return {result.node.name: str(result.status) for result in results}


def rows_of(url: str, relation: str, condition: str = "true") -> list[str]:
    """Return the rows of a relation as text, sorted; columns by name, so that their order does not matter."""
    with psycopg.connect(url) as connection:
        connection.execute("set time zone 'UTC'")
        schema, name = relation.split(".")
        columns = connection.execute(
            "select attname from pg_attribute where attrelid = format('%%I.%%I', %s::text, %s::text)::regclass"
            " and attnum > 0 and not attisdropped order by attname",
            (schema, name),
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
