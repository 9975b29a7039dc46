"""Marts and features of every user in Postgres through dbt, against DuckDB and polars, and the price of one new day.

    python -m tests.benchmarks.bench_features --users 1000000 --sessions 20000000 --peers duckdb polars --new-day
    python -m tests.benchmarks.bench_features --users 1000000 --sessions 100000000 --history-days 3650 --new-day

A generated company (generated_activity.py) lands in a database of an embedded server of its own. Measured are a first
full build of marts and features and, with `--new-day`, one more day on top of it, of which every fiftieth row is up to
six days late; what the new day left is then compared with a full build, table by table (`--unchecked` leaves that out).
DuckDB runs the same models on the same rows, and every table must be the same; polars sums sessions, seconds, payments
and active days over five windows, and those must be the same. `--folder` keeps the server's files on a larger disk.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path

import psycopg

from local.postgres import EmbeddedPostgres
from tests.benchmarks.feature_peers import built_models, duckdb_seconds, polars_seconds
from tests.benchmarks.generated_activity import Company
from tests.dbt_project.building import DbtProject
from warehouse.migrations import migrate

AS_OF = date(2026, 1, 1)
LAYERS = {
    "marts": ("path:models/staging", "path:models/intermediate", "path:models/marts"),
    "features": ("path:models/features",),
}
# What a new day leaves behind and a full build makes anew: all rows, or those of the new date.
STATE = {
    "marts.fct_user_days": "true",
    "marts.fct_user_years": "true",
    "marts.fct_user_devices": "true",
    "marts.fct_user_lapses": "true",
    "marts.fct_user_category_months": "true",
    "marts.fct_exposures": "true",
    "features.training_examples": "true",
    **{
        f"features.{name}": "as_of_date = '{as_of_date}'"
        for name in (
            *("user_sums_as_of_dates", "user_refunds_as_of_dates", "feat_user_lapses", "feat_user_contacts"),
            *("feat_user_social", "feat_user_items"),
        )
    },
}


def timed(work: Callable[[], object]) -> float:
    """Seconds a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def build(project: DbtProject, url: str, as_of_date: date, target: Path, *, full_refresh: bool = False) -> None:
    """Build both layers, a dbt run each, and print seconds and what took longest."""
    for layer, select in LAYERS.items():
        seconds = timed(lambda select=select: project.build(url, as_of_date, select=select, full_refresh=full_refresh))  # type: ignore[misc]
        results = json.loads((target / "run_results.json").read_text(encoding="utf-8"))["results"]
        slowest = sorted(results, key=lambda result: -result["execution_time"])[:6]
        named = ", ".join(f"{item['unique_id'].rsplit('.', 1)[-1]} {item['execution_time']:.1f}" for item in slowest)
        print(f"  {layer} {seconds:.1f} s ({named})", flush=True)


def differences(url: str, as_of_date: date, rebuild: Callable[[], None]) -> dict[str, int]:
    """Rows by table that a new day left otherwise than `rebuild` makes them."""
    conditions = {name: condition.format(as_of_date=as_of_date) for name, condition in STATE.items()}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create schema kept")
        for name, condition in conditions.items():
            connection.execute(f"create table kept.{name.split('.')[1]} as select * from {name} where {condition}")
    rebuild()
    found = {}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("set work_mem = '512MB'")
        for name, condition in conditions.items():
            kept, built = f"select * from kept.{name.split('.')[1]}", f"select * from {name} where {condition}"
            row = connection.execute(
                f"select count(*) from (({kept} except all {built}) union all ({built} except all {kept})) as rows"
            ).fetchone()
            found[name] = int(row[0]) if row else 0
        connection.execute("drop schema kept cascade")
    return found


def measure(url: str, company: Company, peers: Sequence[str], folder: Path, options: argparse.Namespace) -> None:
    """Generate, build, compare and print."""
    migrate(url)
    print(f"{company.users:,} users, {company.sessions:,} sessions, {company.history_days} days", flush=True)
    print(f"generated in {timed(lambda: company.write(url)):.1f} s", flush=True)
    target = folder / "dbt"
    project = DbtProject(target)
    project.read(url)
    print("first full build", flush=True)
    ours = timed(lambda: build(project, url, AS_OF, target))
    print(f"first full build: {ours:.1f} s", flush=True)
    if "duckdb" in peers:
        project.build(url, AS_OF, command="compile", full_refresh=True)
        theirs = duckdb_seconds(url, built_models(target), folder)
        print("DuckDB, the same models: " + ", ".join(f"{part} {value:.1f} s" for part, value in theirs.items()))
        print(f"Postgres to DuckDB: {ours / theirs['marts and features']:.2f}", flush=True)
    if "polars" in peers:
        theirs = polars_seconds(url, AS_OF, folder)
        print("polars: " + ", ".join(f"{part} {value:.1f} s" for part, value in theirs.items()), flush=True)
    if options.new_day:
        sessions = company.write_new_day(url)
        next_date = AS_OF + timedelta(days=1)
        seconds = timed(lambda: build(project, url, next_date, target))
        print(f"one new day of {sessions:,} sessions: {seconds:.1f} s", flush=True)
        if not options.unchecked:
            found = differences(url, next_date, lambda: build(project, url, next_date, target, full_refresh=True))
            if any(found.values()):
                raise SystemExit(f"The new day and a full build differ in so many rows: {found}.")
            print(f"equal to a full build: {', '.join(found)}")


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
            server.ensure_database("bench")
            company = Company(options.users, options.sessions, options.history_days, AS_OF)
            measure(server.url("bench"), company, options.peers, folder, options)
        finally:
            server.remove()


if __name__ == "__main__":
    main()
