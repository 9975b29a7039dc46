"""Rows a second landed: 4 million sessions from Parquet and from CSV, beside psql's way (COPY) in the same run.

    python -m tests.benchmarks.bench_landing [sessions]

The peer copies a ready CSV of the same rows into an empty table without a key; it checks nothing. Landing reads, checks
every value, looks for unknown users and doubled keys, writes, and builds the key and the index on time.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import duckdb
import psycopg

from local.postgres import EmbeddedPostgres
from warehouse.landing import LandingReport, land_folder
from warehouse.migrations import migrate
from warehouse.settings import load_settings

USERS = 200_000
CREATE_USERS = f"""
    create table users as
    select 'u' || i as user_id, timestamp '2017-01-01' + to_seconds(i) as registered_at, 'DE' as country
    from range({USERS}) as numbers (i)
"""
CREATE_SESSIONS = """
    create table sessions as
    select
        's' || lpad(cast(i as varchar), 9, '0') as session_id,
        'u' || (hash(i) % {users}) as user_id,
        timestamp '2017-06-01' + to_seconds(i * 8) as started_at,
        cast(hash(i + 1) % 3600 as bigint) as duration_seconds,
        'd' || (hash(i) % {users}) as device_id,
        ['mobile', 'tablet', 'desktop'][1 + (i % 3)] as device_type,
        ['ios', 'android', 'windows'][1 + (i % 3)] as operating_system,
        cast(null as varchar) as browser,
        'DE' as country,
        cast(i % 30 as bigint) as page_view_count
    from range({count}) as numbers (i)
"""
PEER_TABLE = """
    create table peer (
        session_id text, user_id text, started_at timestamptz, duration_seconds bigint, device_id text,
        device_type text, operating_system text, browser text, country text, page_view_count bigint
    )
"""


def write_sources(folder: Path, count: int) -> None:
    """Write the same rows as Parquet and as CSV."""
    with duckdb.connect() as connection:
        connection.execute(CREATE_USERS)
        connection.execute(CREATE_SESSIONS.format(users=USERS, count=count))
        for kind in ("parquet", "csv"):
            (folder / kind).mkdir()
            for table in ("users", "sessions"):
                options = "format csv, header" if kind == "csv" else "format parquet"
                connection.execute(f"copy {table} to '{folder / kind / table}.{kind}' ({options})")


def copy_with_psycopg(url: str, file: Path) -> float:
    """Seconds that COPY takes for the ready CSV, and nothing else."""
    with psycopg.connect(url) as connection:
        connection.execute("drop table if exists peer")
        connection.execute(PEER_TABLE)
        started = time.perf_counter()
        statement = "copy peer from stdin with (format csv, header)"
        with file.open("rb") as stream, connection.cursor().copy(statement) as copy:
            while block := stream.read(1 << 20):
                copy.write(block)
        connection.commit()
        return time.perf_counter() - started


def land(server: EmbeddedPostgres, folder: Path, name: str) -> tuple[float, float, LandingReport]:
    """Seconds and processor seconds of one landing in a fresh warehouse."""
    server.ensure_database(name)
    migrate(server.url(name))
    settings = replace(load_settings(), warehouse_url=server.url(name))
    started, busy = time.perf_counter(), time.process_time()
    report = land_folder(folder, settings)
    return time.perf_counter() - started, time.process_time() - busy, report


def main(count: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="rekindle-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        write_sources(folder, count)
        server = EmbeddedPostgres(folder / "postgres")
        server.start()
        try:
            print(f"{count:,} sessions and {USERS:,} users, load average {os.getloadavg()[0]:.1f}")
            server.ensure_database("peer")
            peer = copy_with_psycopg(server.url("peer"), folder / "csv" / "sessions.csv")
            print(f"COPY of the ready CSV, no checks, no key: {peer:.1f} s, {count / peer:,.0f} rows/s")
            for kind in ("parquet", "csv"):
                seconds, busy, report = land(server, folder / kind, f"landed_{kind}")
                rows = sum(table.good for table in report.tables)
                print(
                    f"landing {kind}: {seconds:.1f} s ({busy:.1f} s of processor outside Postgres), "
                    f"{rows / seconds:,.0f} rows/s, {seconds / peer:.2f} times the peer"
                )
        finally:
            server.remove()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4_000_000)
