"""Writes what a landing decided into the warehouse: one transaction for all tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb

from warehouse.contract import TableContract
from warehouse.landing.checks import literal
from warehouse.landing.reports import LandedTable
from warehouse.landing.source_files import SourceTable
from warehouse.landing.workbench import Workbench
from warehouse.migrations.raw_tables import key_constraint, secondary_indexes

__all__ = ["write_batch"]

# Below so many rows it does not matter how indexes are kept.
FEW_ROWS = 50_000


def write_batch(
    workbench: Workbench,
    contract: Mapping[str, TableContract],
    sources: Sequence[SourceTable],
    landed: Sequence[LandedTable],
    has_landed: Mapping[str, bool],
    batch_id: str,
) -> None:
    """Write good rows, quarantine, releases and receipts, and commit them together.

    Raises:
        duckdb.Error: Postgres refused something; nothing was written.
    """
    workbench.execute("begin")
    try:
        landing_id = int(workbench.scalar_from_warehouse("select nextval('audit.landing_ids')"))
        for table in landed:
            _write_good(workbench, contract[table.table], table, landing_id, has_landed=has_landed[table.table])
            if table.quarantined:
                workbench.execute(f"insert into pg.quarantine.rows by name select * from quarantine_{table.table}")
            if table.released:
                _write_releases(workbench, table.table, batch_id)
        _write_receipts(workbench, sources, landed, batch_id, landing_id)
        workbench.execute("commit")
    except BaseException as error:
        try:
            workbench.execute("rollback")
        except duckdb.Error as refused:
            # Postgres undoes what a broken connection has begun. Why it broke is what counts.
            error.add_note(f"No rollback after it: {refused}")
        raise


def _write_good(
    workbench: Workbench, table: TableContract, landed: LandedTable, landing_id: int, *, has_landed: bool
) -> None:
    count = landed.good + landed.released
    if count == 0:
        return
    name = f"raw.{table.name}"
    rebuild = not has_landed or _is_worth_rebuilding(workbench, name, count)
    key_name, key = key_constraint(table)
    indexes = secondary_indexes(table)
    if not has_landed:
        # A table emptied in this transaction needs no log of the rows that follow (wal_level = minimal).
        workbench.in_warehouse(f"truncate {name}")
    if rebuild:
        # Built at the end an index takes a fraction of the time it takes to keep it up row by row.
        workbench.in_warehouse(f"alter table {name} drop constraint if exists {key_name}")
        for index in indexes:
            workbench.in_warehouse(f"drop index if exists raw.{index}")
    columns = ", ".join([*table.column_names, "_batch_id"])
    workbench.execute(
        f"insert into pg.{name} ({columns}, _landing_id) "
        f"select {columns}, {landing_id} from checked_{table.name} where _problem is null"
    )
    if rebuild:
        workbench.in_warehouse(f"alter table {name} add constraint {key_name} {key}")
        for definition in indexes.values():
            workbench.in_warehouse(definition)
        workbench.in_warehouse(f"analyze {name}")


def _is_worth_rebuilding(workbench: Workbench, name: str, count: int) -> bool:
    """Whether so many rows arrive that indexes are better built anew (a fifth of what is there)."""
    if count < FEW_ROWS:
        return False
    query = f"select greatest(reltuples, 0) from pg_class where oid = {literal(name)}::regclass"
    return count * 5 > float(workbench.scalar_from_warehouse(query))


def _write_releases(workbench: Workbench, table: str, batch_id: str) -> None:
    released = workbench.execute(
        f"select row_hash, copy from waiting_{table} inner join checked_{table} as checked using (_row) "
        "where checked._problem is null order by row_hash, copy"
    )
    for start in range(0, len(released), FEW_ROWS):
        keys = ", ".join(f"({literal(row_hash)}, {copy})" for row_hash, copy in released[start : start + FEW_ROWS])
        workbench.in_warehouse(
            f"update quarantine.rows set released_by_batch = {literal(batch_id)} from (values {keys}) "
            f"as released (row_hash, copy) where rows.table_name = {literal(table)} "
            "and rows.row_hash = released.row_hash and rows.copy = released.copy"
        )


def _write_receipts(
    workbench: Workbench,
    sources: Sequence[SourceTable],
    landed: Sequence[LandedTable],
    batch_id: str,
    landing_id: int,
) -> None:
    files = {source.contract.name: source.files[0].name for source in sources}
    receipts = ", ".join(
        f"({landing_id}, {literal(batch_id)}, {literal(table.table)}, {literal(files.get(table.table, ''))}, "
        f"{table.received}, {table.good}, {table.quarantined}, {table.duplicates}, {table.released})"
        for table in landed
    )
    workbench.in_warehouse(
        "insert into audit.landings "
        "(landing_id, batch_id, table_name, source, received, good, quarantined, duplicates, released) "
        f"values {receipts}"
    )
