"""Reads a source that lies in a Postgres schema: its tables and views, written as the files that landing reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import sql

from warehouse.contract import TableContract
from warehouse.landing.reports import LandingError
from warehouse.settings import SourceSchema

__all__ = ["OWN_SCHEMAS", "export_schema"]

#: What Rekindle writes itself: landing from there would land its own output.
OWN_SCHEMAS = frozenset(
    {"raw", "quarantine", "staging", "intermediate", "marts", "features", "experiments", "predictions", "marketing"}
    | {"reporting", "delivery", "privacy", "audit"}
)
COLUMNS = """
    select relation.relname::text, attribute.attname::text, format_type(attribute.atttypid, null)
    from pg_namespace as namespace
    inner join pg_class as relation on relation.relnamespace = namespace.oid
    inner join pg_attribute as attribute on attribute.attrelid = relation.oid
    where
        namespace.nspname = %s
        and relation.relkind in ('r', 'p', 'v', 'm', 'f')
        and attribute.attnum > 0
        and not attribute.attisdropped
    order by relation.relname, attribute.attnum
"""
ZONELESS = "timestamp without time zone"


def export_schema(schema: SourceSchema, folder: Path, contract: Mapping[str, TableContract]) -> list[str]:
    """Write the tables of the contract that a schema holds to `<folder>/<table>.csv`, all from one moment.

    Columns that the contract does not know are never read. Times without a zone are taken for UTC. Rows are sorted by
    the table's key, so that unchanged tables give the same files.

    Returns:
        Warnings about what was not read.

    Raises:
        LandingError: the schema cannot be read, is not there, or is one of Rekindle's own.
    """
    if schema.schema in OWN_SCHEMAS:
        raise LandingError(
            f"The source cannot be the schema {schema.schema}, which Rekindle writes itself: keep yours in another one."
        )
    try:
        with psycopg.connect(schema.url, connect_timeout=10) as connection:
            connection.execute("set transaction isolation level repeatable read, read only")
            connection.execute("set local timezone to 'UTC'")
            connection.execute("set local datestyle to 'ISO'")
            return _export(connection, schema, folder, contract)
    except psycopg.Error as error:
        raise LandingError(
            f"{schema.title} cannot be read ({str(error).strip().splitlines()[0]}): check the address and that this"
            " user may select from its tables."
        ) from error


def _export(
    connection: psycopg.Connection, schema: SourceSchema, folder: Path, contract: Mapping[str, TableContract]
) -> list[str]:
    found: dict[str, dict[str, str]] = {}
    for relation, column, kind in connection.execute(COLUMNS, (schema.schema,)).fetchall():
        found.setdefault(relation, {})[column] = kind
    if not found:
        raise LandingError(f"There is no table in {schema.title}: check its name and that this user may use it.")
    warnings = []
    for name, columns in found.items():
        if name not in contract:
            warnings.append(f"{schema.schema}.{name} is no table of the source contract and was ignored.")
            continue
        table = contract[name]
        unknown = [column for column in columns if column not in table.column_names]
        if unknown:
            warnings.append(f"{schema.schema}.{name}: unknown columns were ignored ({', '.join(unknown)}).")
        known = [column for column in columns if column in table.column_names]
        if not known:
            raise LandingError(f"{schema.schema}.{name} has none of the columns {', '.join(table.column_names)}.")
        order = [sql.SQL('{} collate "C"').format(sql.Identifier(column)) for column in table.key if column in known]
        statement = sql.SQL("copy (select * from (select {} from {}) as source {}) to stdout with (format csv, header)")
        query = statement.format(
            sql.SQL(", ").join(_as_text(column, columns[column]) for column in known),
            sql.Identifier(schema.schema, name),
            sql.SQL("order by {}").format(sql.SQL(", ").join(order)) if order else sql.SQL(""),
        )
        with (folder / f"{name}.csv").open("wb") as file, connection.cursor().copy(query) as stream:
            for block in stream:
                file.write(block)
    return warnings


def _as_text(column: str, kind: str) -> sql.Composed:
    """Return the column as the text that landing reads: true and false in words, times with their zone."""
    expression = sql.SQL("{} at time zone 'UTC'") if kind == ZONELESS else sql.SQL("{}")
    return sql.SQL("cast({} as text) as {}").format(expression.format(sql.Identifier(column)), sql.Identifier(column))
