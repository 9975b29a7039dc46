"""Lands a folder as a whole, in one transaction."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from ml.contracts import StageReport
from warehouse.conflicts import retry_conflicts
from warehouse.contract import TableContract, load_contract
from warehouse.door import Warehouse, WarehouseError
from warehouse.landing.checks import TableChecks, literal
from warehouse.landing.quarantine import collect_quarantine
from warehouse.landing.reports import LandedTable, LandingError, LandingReport
from warehouse.landing.source_files import SourceTable, batch_id_of, find_tables
from warehouse.landing.source_schema import export_schema
from warehouse.landing.workbench import REPEATED, Workbench, open_workbench
from warehouse.landing.writing import write_batch
from warehouse.settings import Settings

__all__ = ["LANDING_LOCK", "land_folder", "land_source"]

# Number of the advisory lock that keeps two landings of one warehouse apart.
LANDING_LOCK = 7_302_802

NEWEST_BATCH = """
    select table_name, received, good, quarantined, duplicates, released
    from audit.landings
    where landing_id = (select max(landing_id) from audit.landings) and batch_id = %s
    order by table_name
"""


def land_source(as_of_date: date, settings: Settings) -> StageReport:
    """Land the source that is set up, a folder or a schema, and report it as a stage of the chain.

    Raises:
        LandingError: the source is refused as a whole.
    """
    schema = settings.source_schema
    if schema is None:
        report = land_folder(settings.source_folder, settings)
    else:
        with TemporaryDirectory(prefix="rekindle-source-") as folder:
            warnings = export_schema(schema, Path(folder), load_contract())
            report = land_folder(Path(folder), settings)
            report = replace(report, warnings=(*warnings, *report.warnings))
    lines = [
        f"{table.table}: {table.quarantined} of {table.received} rows break the source contract, see quarantine.rows."
        for table in report.tables
        if table.quarantined
    ] + [
        f"{table.table}: {table.duplicates} of {table.received} rows were received before and count once."
        for table in report.tables
        if table.duplicates
    ]
    return StageReport(
        stage="land_source",
        as_of_date=as_of_date,
        rows=sum(table.good for table in report.tables),
        messages=(*report.warnings, *lines),
        details={
            "received": sum(table.received for table in report.tables),
            "quarantined": sum(table.quarantined for table in report.tables),
            "duplicates": sum(table.duplicates for table in report.tables),
            "batch_id": report.batch_id,
            **{table.table: table.good for table in report.tables},
        },
    )


def land_folder(folder: Path, settings: Settings) -> LandingReport:
    """Bring the tables of a folder into the warehouse: all of them, or none.

    Landing the files that landed last once more changes nothing and gives the same report. Rows that came before are
    counted as duplicates, whether they landed or went to quarantine.

    Args:
        folder: holds `<table>.parquet` or `<table>.csv` for the tables of the contract.
        settings: where the warehouse is.

    Raises:
        LandingError: the source is refused as a whole, and the warehouse is as it was.
        WarehouseError: acts of consent of the same users came in between every time, or the warehouse went away; it is
            as it was, unless it went away when everything had been committed.
    """
    contract = load_contract()
    tables, warnings = find_tables(folder, contract)
    batch_id = batch_id_of(tables)
    warehouse = Warehouse(settings.warehouse_url)
    with warehouse.connect() as guard:
        try:
            # Held by this session until it ends, also when the process is killed.
            guard.execute("select pg_advisory_lock(%s)", (LANDING_LOCK,))
            guard.commit()
            known = guard.execute(NEWEST_BATCH, (batch_id,)).fetchall()
            guard.commit()
        except psycopg.OperationalError as error:
            reason = " ".join(str(error).split())
            raise WarehouseError(
                f"The warehouse did not answer ({reason}): nothing was landed. Run it again."
            ) from error
        if known:
            return LandingReport(
                batch_id,
                tuple(LandedTable(*row) for row in known),
                (*warnings, "These very files were landed last: nothing has changed."),
            )
        with open_workbench(warehouse) as workbench:
            return _land(workbench, tables, contract, batch_id, warnings)


def _land(
    workbench: Workbench,
    sources: list[SourceTable],
    contract: dict[str, TableContract],
    batch_id: str,
    warnings: list[str],
) -> LandingReport:
    by_name = {source.contract.name: source for source in sources}
    all_checks = {name: TableChecks(table) for name, table in contract.items()}
    has_landed = {name: _has_rows(workbench, f"raw.{name}") for name in contract}
    has_quarantine = _has_rows(workbench, "quarantine.rows")
    landed: list[LandedTable] = []
    for name, checks in all_checks.items():  # those first that others refer to
        source, received, waiting = by_name.get(name), 0, 0
        workbench.prepare(checks.table)
        if source is not None:
            received, found = workbench.load(source, checks, batch_id)
            warnings = [*warnings, *found, *(_about_empty(source) if received == 0 else [])]
        if has_quarantine:
            waiting = workbench.load_waiting(checks)
        if received or waiting:
            workbench.mark_dangling(checks)
            workbench.mark_repeated(checks, has_landed=has_landed[name])
        if any(column.references == name for table in contract.values() for column in table.columns):
            workbench.remember_keys(checks.table)
        if source is not None and checks.table.required and not has_landed[name]:
            _refuse_useless(workbench, source, checks)
        if source is not None or waiting:
            landed.append(
                collect_quarantine(workbench, source, checks, received, batch_id, is_first=not has_quarantine)
            )
    _refuse_currency_mix(workbench, all_checks["payments"])
    retry_conflicts(
        lambda: write_batch(workbench, contract, sources, landed, has_landed, batch_id), "the landing of the source"
    )
    return LandingReport(batch_id, tuple(landed), tuple(warnings))


def _has_rows(workbench: Workbench, relation: str) -> bool:
    return bool(workbench.scalar_from_warehouse(f"select exists (select from {relation})"))


def _about_empty(source: SourceTable) -> list[str]:
    table = source.contract
    if table.required:
        raise LandingError(f"{source.files[0]} has no rows: the table {table.name} is required and must not be empty.")
    return [f"The table {table.name} is empty: {table.without}."]


def _refuse_useless(workbench: Workbench, source: SourceTable, checks: TableChecks) -> None:
    """Refuse a required table without a single good row: nothing could be built on it."""
    name = checks.table.name
    if workbench.scalar(f"select count(*) from checked_{name} where _problem is null"):
        return
    counted = workbench.execute(
        f"select _problem from checked_{name} where _problem > {REPEATED} "
        "group by _problem order by count(*) desc, _problem limit 1"
    )
    reason = checks.problems[counted[0][0]].reason if counted else "no row can be split into its values"
    raise LandingError(
        f"{source.files[0]} has no usable row (most often: {reason}): the table {name} is required, mend the export."
    )


def _refuse_currency_mix(workbench: Workbench, checks: TableChecks) -> None:
    """Refuse payments in two currencies, also when one of them landed before."""
    found = workbench.execute(
        f"select distinct currency from checked_payments where _problem is null or _problem = {checks.conflict} "
        f"union select * from postgres_query('pg', {literal('select currency from raw.payments limit 1')}) order by 1"
    )
    if len(found) > 1:
        currencies = ", ".join(row[0] for row in found)
        raise LandingError(
            f"The payments mix currencies ({currencies}, counting what landed before): convert the amounts to one "
            "currency, or land each currency in a warehouse of its own."
        )
