"""Marts and features of every user in Postgres through dbt, against DuckDB and polars, and the price of one new day.

    python -m tests.benchmarks.bench_features --users 1000000 --sessions 20000000 --peers duckdb polars --new-day
    python -m tests.benchmarks.bench_features --users 1000000 --sessions 100000000 --history-days 3650 --new-day

A generated company (generated_activity.py) lands in a database of an embedded server of its own. Measured are a first
full build of marts and features and, with `--new-day`, one more day on top of it, of which every fiftieth row is up to
six days late. All tables are vacuumed before it, as autovacuum does within minutes of a build: else it would do so
during the day. What the new day left is compared with a full build, table by table (`--unchecked` leaves that out).
DuckDB builds the features of everybody from the same rows with SQL of its own (duckdb_features.py), and every column it
has must be the same; polars sums sessions, seconds, payments and active days over five windows, and those must be the
same. `--folder` keeps the server's files on a larger disk.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import psutil
import psycopg

from local.postgres import EmbeddedPostgres
from tests.benchmarks.duckdb_features import duckdb_seconds
from tests.benchmarks.feature_peers import polars_seconds
from tests.benchmarks.generated_activity import Company
from tests.dbt_project.building import DbtProject
from warehouse.migrations import migrate

AS_OF = date(2026, 1, 1)
DATABASE = "bench"
TIMING_ENDS = ("started_at", "completed_at")
LAYERS = {
    "marts": ("path:models/staging", "path:models/intermediate", "path:models/marts"),
    "features": ("path:models/features",),
}
# What a new day leaves behind and a full build makes anew: all rows, or those of the new date.
STATE = {
    **{
        f"marts.{name}": "true"
        for name in (
            *("fct_user_days", "fct_user_years", "fct_user_devices", "fct_user_lapses", "fct_user_category_months"),
            *("fct_exposures", "fct_user_refund_days"),
        )
    },
    "intermediate.int_friendships_mirrored": "true",
    "features.training_examples": "true",
    **{
        f"features.{name}": "as_of_date = '{as_of_date}'"
        for name in (
            *("user_sums_as_of_dates", "feat_user_money", "feat_user_lapses", "feat_user_contacts"),
            *("feat_user_social", "feat_user_items", "feat_user_event_types", "eligible_user_channels"),
        )
    },
}
# Columns that tell how a row came to be, not what it says.
BOOKKEEPING = ["change_number", "valid_from_date", "valid_until_date"]


def timed(work: Callable[[], object]) -> float:
    """Seconds a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def server_seconds(server: EmbeddedPostgres) -> float:
    """CPU seconds of all processes of the server that have ended, those of a dbt run among them."""
    process_id = server.process_id()
    if process_id is None:
        raise SystemExit("The server does not run.")
    times = psutil.Process(process_id).cpu_times()
    return times.children_user + times.children_system


def vacuum(url: str) -> None:
    """Vacuum and describe all tables, and wait until the server has counted what that took."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("vacuum (analyze)")
    time.sleep(1)


def build(project: DbtProject, server: EmbeddedPostgres, as_of_date: date, *, full_refresh: bool = False) -> float:
    """Build both layers, a dbt run each; print and return the seconds.

    Printed are the seconds on a clock, those of them from the first to the last model (the rest is dbt's own: reading
    the project, planning the run), the CPU seconds of the server and of dbt, and what took longest.
    """
    total = 0.0
    for layer, select in LAYERS.items():
        used, own = server_seconds(server), time.process_time()
        seconds = timed(
            lambda select=select: project.build(  # type: ignore[misc]
                server.url(DATABASE), as_of_date, select=select, full_refresh=full_refresh
            )
        )
        own = time.process_time() - own
        time.sleep(1)  # until the server has counted what its last process used
        results = json.loads((project.target_folder / "run_results.json").read_text(encoding="utf-8"))["results"]
        moments = [
            datetime.fromisoformat(part[end]) for item in results for part in item["timing"] for end in TIMING_ENDS
        ]
        slowest = sorted(results, key=lambda result: -result["execution_time"])[:8]
        named = ", ".join(f"{item['unique_id'].rsplit('.', 1)[-1]} {item['execution_time']:.1f}" for item in slowest)
        print(
            f"  {layer} {seconds:.1f} s, of models {(max(moments) - min(moments)).total_seconds():.1f} s; CPU: server"
            f" {server_seconds(server) - used:.1f} s, dbt {own:.1f} s ({named})",
            flush=True,
        )
        total += seconds
    return total


def state(url: str, as_of_date: date) -> dict[str, tuple[object, ...] | None]:
    """Number of rows of each table and the sum of their hashes, whatever their order: one pass, and no copy on disk."""
    with psycopg.connect(url, autocommit=True) as connection:
        return {
            name: connection.execute(
                "select count(*), sum(cast(hash_record_extended(rows, 0) as numeric)) from ("
                f"select {_columns(connection, name)} from {name} where {condition.format(as_of_date=as_of_date)}"
                ") as rows"
            ).fetchone()
            for name, condition in STATE.items()
        }


def _columns(connection: psycopg.Connection, relation: str) -> str:
    """Columns of a relation but for bookkeeping, in an order of their own."""
    schema, name = relation.split(".")
    found = connection.execute(
        "select column_name from information_schema.columns where table_schema = %s and table_name = %s"
        " and column_name <> all(%s) order by column_name",
        (schema, name, BOOKKEEPING),
    )
    return ", ".join(column for (column,) in found.fetchall())


def measure(server: EmbeddedPostgres, company: Company, folder: Path, options: argparse.Namespace) -> None:
    """Generate, build, compare and print."""
    server.ensure_database(DATABASE)
    url = server.url(DATABASE)
    migrate(url)
    print(f"{company.users:,} users, {company.sessions:,} sessions, {company.history_days} days", flush=True)
    print(f"generated in {timed(lambda: company.write(url)):.1f} s", flush=True)
    project = DbtProject(folder / "dbt")
    project.read(url)
    print("first full build", flush=True)
    ours = build(project, server, AS_OF)
    print(f"first full build: {ours:.1f} s", flush=True)
    if "duckdb" in options.peers:
        theirs = duckdb_seconds(url, AS_OF, folder)
        print("DuckDB: " + ", ".join(f"{part} {value:.1f} s" for part, value in theirs.items()))
        print(f"Postgres to DuckDB: {ours / theirs['marts and features']:.2f}", flush=True)
    if "polars" in options.peers:
        theirs = polars_seconds(url, AS_OF, folder)
        print("polars: " + ", ".join(f"{part} {value:.1f} s" for part, value in theirs.items()), flush=True)
    if options.new_day:
        used = server_seconds(server)
        seconds = timed(lambda: vacuum(url))
        print(f"vacuum of all tables: {seconds:.1f} s, CPU: {server_seconds(server) - used:.1f} s", flush=True)
        sessions = company.write_new_day(url)
        next_date = AS_OF + timedelta(days=1)
        seconds = build(project, server, next_date)
        print(f"one new day of {sessions:,} sessions: {seconds:.1f} s", flush=True)
        if not options.unchecked:
            left = state(url, next_date)
            build(project, server, next_date, full_refresh=True)
            built = state(url, next_date)
            differing = {name: (left[name], built[name]) for name in STATE if left[name] != built[name]}
            if differing:
                raise SystemExit(f"Rows and hashes that a new day left and that a full build made differ: {differing}.")
            print(f"equal to a full build: {', '.join(STATE)}")


def main() -> None:
    """Read the options and measure in a server of our own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--sessions", type=int, default=400_000)
    parser.add_argument("--history-days", type=int, default=730)
    parser.add_argument("--peers", nargs="*", default=["duckdb", "polars"], choices=["duckdb", "polars"])
    parser.add_argument("--new-day", action="store_true")
    parser.add_argument("--unchecked", action="store_true")
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rekindle-bench-", dir=options.folder) as name:
        folder = Path(name)
        folder.chmod(0o711)
        server = EmbeddedPostgres(folder / "postgres")
        server.start()
        try:
            company = Company(options.users, options.sessions, options.history_days, AS_OF)
            measure(server, company, folder, options)
        finally:
            server.remove()


if __name__ == "__main__":
    main()
