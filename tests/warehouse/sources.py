"""Small sources for landing tests: good rows as dicts of text, written as CSV or Parquet, and what landed of them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.contract import load_contract
from warehouse.door import Warehouse
from warehouse.landing import LandedTable, LandingReport

Rows = list[dict[str, str]]


def good_users(count: int) -> Rows:
    """Users user-0 ... with everything filled in."""
    return [
        {
            "user_id": f"user-{number}",
            "registered_at": f"2017-01-{number % 28 + 1:02d}T08:00:00Z",
            "country": ["DE", "FR", ""][number % 3],
            "language": "pt-BR",
            "timezone": "Europe/Berlin",
            "birth_year": str(1950 + number % 50),
            "acquisition_channel": "a, b",
            "attributes": '{"level": %d, "note": "say ""hi"""}'.replace('""', '\\"') % number,
        }
        for number in range(count)
    ]


def good_sessions(count: int, users: int) -> Rows:
    """Sessions of the users in turn."""
    return [
        {
            "session_id": f"session-{number}",
            "user_id": f"user-{number % users}",
            "started_at": f"2017-{number % 12 + 1:02d}-{number % 28 + 1:02d}T{number % 24:02d}:15:00Z",
            "duration_seconds": str(number % 900),
            "device_id": f"device-{number % 7}",
            "device_type": ["mobile", "tablet", "other", ""][number % 4],
            "operating_system": "system 7",
            "browser": "",
            "country": "DE",
            "page_view_count": str(number % 30),
        }
        for number in range(count)
    ]


def good_payments(count: int, users: int) -> Rows:
    """Purchases in euros."""
    return [
        {
            "payment_id": f"payment-{number}",
            "user_id": f"user-{number % users}",
            "paid_at": f"2017-{number % 12 + 1:02d}-{number % 28 + 1:02d} 10:00:00",
            "amount": f"{number + 1}.99",
            "currency": "EUR",
            "kind": "purchase",
            "item_id": "",
        }
        for number in range(count)
    ]


def good_events() -> Rows:
    """Two events."""
    return [
        {
            "event_id": f"event-{number}",
            "event_type": "tournament",
            "title": 'The "great" one,\nin two lines',
            "starts_at": "2017-12-01T00:00:00Z",
            "ends_at": "2018-02-01T00:00:00Z",
            "reward_cost": "1.5",
            "contact_cost": "0",
            "capacity": "100",
        }
        for number in range(2)
    ]


def good_source(users: int = 20, sessions: int = 100) -> dict[str, Rows]:
    """A whole source with four tables."""
    return {
        "users": good_users(users),
        "sessions": good_sessions(sessions, users),
        "payments": good_payments(30, users),
        "events": good_events(),
    }


def csv_line(values: Sequence[str]) -> str:
    """One CSV record with its line end, quoted where it must be."""
    return ",".join(
        '"' + value.replace('"', '""') + '"' if any(sign in value for sign in '",\r\n') else value for value in values
    )


def write_csv(folder: Path, source: Mapping[str, Rows]) -> Path:
    """Write a source as CSV files."""
    folder.mkdir(parents=True, exist_ok=True)
    for table, rows in source.items():
        with (folder / f"{table}.csv").open("w", encoding="utf-8", newline="") as stream:
            names = list(rows[0]) if rows else list(load_contract()[table].column_names)
            writer = csv.DictWriter(stream, names, lineterminator="\r\n")
            writer.writeheader()
            writer.writerows(rows)
    return folder


def write_lines(folder: Path, table: str, header: Sequence[str], lines: Sequence[str], end: str = "\n") -> Path:
    """Write a CSV from records that are text already."""
    folder.mkdir(parents=True, exist_ok=True)
    content = end.join([",".join(header), *lines]) + end
    (folder / f"{table}.csv").write_bytes(content.encode())
    return folder


def write_parquet(folder: Path, source: Mapping[str, Rows]) -> Path:
    """Write a source as Parquet files with columns of the natural types."""
    folder.mkdir(parents=True, exist_ok=True)
    types = {"timestamptz": pa.timestamp("us", tz="UTC"), "integer": pa.int64(), "numeric": pa.float64()}
    for table, rows in source.items():
        columns = {}
        for column in load_contract()[table].columns:
            values = pd.Series([row[column.name] or None for row in rows], dtype="object")
            if column.type == "timestamptz":
                values = pd.to_datetime(values, utc=True)
            elif column.type in ("integer", "numeric"):
                values = pd.to_numeric(values)
            columns[column.name] = pa.array(values, types.get(column.type, pa.string()), from_pandas=True)
        pq.write_table(pa.table(columns), folder / f"{table}.parquet")
    return folder


def table_of(report: LandingReport, name: str) -> LandedTable:
    """The line of one table in a report."""
    return next(table for table in report.tables if table.table == name)


def assert_accounted(report: LandingReport, warehouse: Warehouse) -> None:
    """good + quarantined + duplicates = received, and the tables hold just what the report says."""
    for table in report.tables:
        assert table.good + table.quarantined + table.duplicates == table.received, table
        landed = f"select count(*) from raw.{table.table} where _batch_id = %s"
        assert warehouse.scalar(landed, [report.batch_id]) == table.good, table
        kept = "select count(*) from quarantine.rows where table_name = %s and batch_id = %s"
        assert warehouse.scalar(kept, [table.table, report.batch_id]) == table.quarantined, table


def snapshot(warehouse: Warehouse, *, with_batches: bool = True) -> dict[str, list[str]]:
    """Everything that landings write, row by row as sorted text."""
    content = {}
    for table in load_contract().values():
        columns = ", ".join([*table.column_names, *(["_batch_id"] if with_batches else [])])
        rows = warehouse.read_frame(f"select cast(({columns}) as text) as line from raw.{table.name}")
        content[table.name] = sorted(rows.line)
    if with_batches:
        for relation in ("quarantine.rows", "audit.landings"):
            rows = warehouse.read_frame(f"select cast(kept as text) as line from {relation} as kept")
            content[relation] = sorted(rows.line)
    return content
