"""Collects the rows that break the contract, as they were received, for quarantine.rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from warehouse.landing.checks import TableChecks, literal
from warehouse.landing.reports import LandedTable
from warehouse.landing.source_files import SourceTable

if TYPE_CHECKING:
    from warehouse.landing.workbench import Workbench

__all__ = ["collect_quarantine"]


def collect_quarantine(
    workbench: Workbench,
    source: SourceTable | None,
    checks: TableChecks,
    received: int,
    batch_id: str,
    *,
    is_first: bool,
) -> LandedTable:
    """Fill `quarantine_<table>` with the bad rows that are not in quarantine yet, and count what became of each row."""
    name = checks.table.name
    workbench.execute(
        f"create table bad_{name} (_row bigint, _file smallint, row_offset bigint, column_name varchar, "
        "reason varchar, raw_row varchar, fields varchar)"
    )
    if source is not None:
        _collect_checked(workbench, source, checks)
        _collect_broken(workbench, source, checks)
    names = ", ".join(literal(file.name) for file in source.files) if source is not None else "''"
    query = f"select row_hash, copy from quarantine.rows where table_name = {literal(name)}"
    is_new = f"not exists (select 1 from postgres_query('pg', {literal(query)}) as known where known.row_hash = "
    known = "" if is_first else f"where {is_new} numbered.row_hash and known.copy = numbered.copy)"
    workbench.execute(
        f"create table quarantine_{name} as select * from ("
        f"select {literal(name)} as table_name, md5(raw_row) as row_hash, "
        "cast(row_number() over (partition by raw_row order by _row) as integer) as copy, "
        f"{literal(batch_id)} as batch_id, ([{names}])[_file + 1] as source, row_offset, column_name, reason, raw_row, "
        f"fields, cast(null as varchar) as released_by_batch from bad_{name}) as numbered {known}"
    )
    good, released = workbench.execute(
        f"select count(*) filter (where _row >= 0), count(*) filter (where _row < 0) "
        f"from checked_{name} where _problem is null"
    )[0]
    quarantined = int(workbench.scalar(f"select count(*) from quarantine_{name}"))
    return LandedTable(name, received, good, quarantined, received - good - quarantined, released)


def _collect_checked(workbench: Workbench, source: SourceTable, checks: TableChecks) -> None:
    """Add the rows that could be split but break a rule."""
    name = checks.table.name
    problems = pa.table(
        {
            "code": pa.array(range(len(checks.problems)), pa.int16()),
            "column_name": [problem.column for problem in checks.problems],
            "reason": [problem.reason for problem in checks.problems],
            "may_pass": [problem.may_pass for problem in checks.problems],
        }
    )
    workbench.connection.register("problems", problems)
    fields = ", ".join(f"'{column}', cast({column} as varchar)" for column in checks.table.column_names)
    for number, file in enumerate(source.files):
        rows = workbench.connection.execute(
            f"select _row from checked_{name} where _problem > 0 and _file = {number} order by _row"
        ).to_arrow_table()["_row"]
        if len(rows) == 0:
            continue
        if source.format == "csv":
            first_row = workbench.first_rows[name, number]
            content = workbench.csv_files[name, number]
            texts = pa.table({"_row": rows, "raw_row": content.texts(rows.to_numpy() - first_row)})
            workbench.connection.register("texts", texts)
            received = "texts"
        else:
            first_row = workbench.first_rows[name, number]
            received = (
                f"(select file_row_number + {first_row} as _row, cast(to_json(original) as varchar) as raw_row "
                f"from (select * exclude (file_row_number), file_row_number from "
                f"read_parquet({literal(str(file))}, file_row_number = true)) as numbered, lateral (select numbered) "
                "as original)"
            )
        workbench.execute(
            f"insert into bad_{name} select checked._row, checked._file, checked._position, problems.column_name, "
            f"problems.reason, received.raw_row, case when problems.may_pass then json_object({fields}) end "
            f"from checked_{name} as checked inner join problems on problems.code = checked._problem "
            f"inner join {received} as received on received._row = checked._row "
            f"where checked._problem > 0 and checked._file = {number}"
        )


def _collect_broken(workbench: Workbench, source: SourceTable, checks: TableChecks) -> None:
    """Add the records of CSV files that could not be split."""
    name = checks.table.name
    if source.format != "csv":
        return
    for number, _ in enumerate(source.files):
        broken = workbench.csv_files[name, number].broken
        if broken:
            first_row = workbench.first_rows[name, number]
            texts = pa.table(
                {
                    "_row": np.array([record.row for record in broken]) + first_row,
                    "row_offset": [record.line for record in broken],
                    "reason": [record.reason for record in broken],
                    "raw_row": pa.array([record.text for record in broken], pa.string()),
                }
            )
            workbench.connection.register("texts", texts)
            workbench.execute(
                f"insert into bad_{name} select _row, {number}, row_offset, null, reason, raw_row, null from texts"
            )
