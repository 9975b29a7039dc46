"""Features of every user in Postgres through dbt, against the same result in DuckDB, and the price of one new day.

    python -m tests.benchmarks.bench_features --users 1000000 --sessions 20000000

Generated data with skewed activity lands in a database of an embedded server of its own. Measured are a first full
build of marts and features, one new day on top of it (late rows included), and the rollup and twelve windows in DuckDB
on the same rows. The sums of both engines must be equal before a ratio is printed; DuckDB builds far fewer columns, so
the ratio is an upper limit of what its speed could save.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import duckdb
import psycopg

from local.postgres import EmbeddedPostgres
from tests.dbt_project.building import DbtProject
from warehouse.migrations import migrate

AS_OF = date(2026, 1, 1)
HISTORY_DAYS = 730


# Activity is skewed: a tenth of the users have most of the sessions, and most users stop somewhere on the way.
GENERATE_USERS = """
insert into raw.users (user_id, registered_at, country, _batch_id)
select 'user-' || lpad(cast(number as text), 9, '0'),
    timestamptz '2026-01-01 00:00+00' - make_interval(days => 1 + abs(hashint8(number)) % {history_days}), 'DE', 'first'
from generate_series(0, {users} - 1) as users (number)
"""
GENERATE_SESSIONS = """
insert into raw.sessions (session_id, user_id, started_at, duration_seconds, device_type, _batch_id)
select 'session-' || lpad(cast(number as text), 10, '0'),
    'user-' || lpad(cast(user_number as text), 9, '0'),
    registered_at + (timestamptz '{end}' - registered_at)
        * power((abs(hashint8(number * 7 + 1)) % 1000000) / 1000000.0, 1 + abs(hashint8(user_number)) % 4),
    abs(hashint8(number * 3 + 2)) % 3600, 'mobile', 'first'
from (
    select number,
        floor({users} * power((abs(hashint8(number)) % 1000000) / 1000000.0, 3))::bigint as user_number
    from generate_series({first}, {first} + {sessions} - 1) as drawn (number)
) as sessions
inner join raw.users on user_id = 'user-' || lpad(cast(user_number as text), 9, '0')
where registered_at < timestamptz '{end}'
"""
GENERATE_NEW_DAY = """
insert into raw.sessions (session_id, user_id, started_at, duration_seconds, device_type, _batch_id)
select 'new-' || cast(number as text), user_id,
    timestamptz '2026-01-01 00:00+00' + make_interval(secs => number * 86400.0 / {sessions})
        - case when number % 50 = 0 then interval '4 days' else interval '0' end,
    60, 'mobile', 'second'
from (
    select number,
        'user-' || lpad(cast(floor({users} * power((abs(hashint8(number + 77)) % 1000000) / 1000000.0, 3))::bigint
            as text), 9, '0') as user_id
    from generate_series(1, {sessions}) as drawn (number)
) as sessions
"""
DUCKDB_FEATURES = """
create table user_days as
select user_id, cast(started_at as date) as activity_date, count(*) as sessions_count,
    sum(duration_seconds) as seconds
from sessions group by all;
create table features as
select user_id,
    {windows},
    min(date_diff('day', activity_date, date '{as_of}')) as days_since_last_activity
from user_days where activity_date < date '{as_of}' group by user_id;
"""


def timed(work: object, *arguments: object, **options: object) -> float:
    """Seconds a call takes."""
    start = time.perf_counter()
    work(*arguments, **options)  # type: ignore[operator]
    return time.perf_counter() - start


def build_with_dbt(project: DbtProject, url: str, as_of_date: date) -> dict[str, float]:
    """Seconds of the marts and of the features; every run of a layer is one dbt command."""
    seconds = {}
    for layer, select in (
        ("marts", ["path:models/staging", "path:models/intermediate", "path:models/marts"]),
        ("features", ["path:models/features"]),
    ):
        seconds[layer] = timed(project.build, url, as_of_date, select=select)
    return seconds


def build_with_duckdb(url: str, folder: Path) -> dict[str, float]:
    """Seconds of the same rollup and windows in DuckDB, on rows it already holds."""
    windows = ",\n    ".join(
        f"sum(case when date_diff('day', activity_date, date '{AS_OF}') <= {days} then {column} else 0 end)"
        f" as {name}_{days}"
        for days in (7, 28, 90, 365)
        for column, name in (("1", "days"), ("sessions_count", "sessions"), ("seconds", "seconds"))
    )
    with duckdb.connect(str(folder / "peer.duckdb")) as peer:
        peer.execute("set threads to 2; set timezone to 'UTC'; install postgres; load postgres")
        peer.execute(f"attach '{url}' as warehouse (type postgres, read_only)")
        copy = timed(peer.execute, "create table sessions as select * from warehouse.raw.sessions")
        build = timed(peer.execute, DUCKDB_FEATURES.format(windows=windows, as_of=AS_OF))
        theirs = peer.execute("select count(*), sum(sessions_90), sum(days_365) from features").fetchone()
    with psycopg.connect(url) as connection:
        ours = connection.execute(
            "select count(*), sum(sessions_count_90d), sum(active_days_count_365d) from features.feat_user_behaviour"
            " where as_of_date = %s and days_since_last_activity is not null",
            (AS_OF,),
        ).fetchone()
    if ours is None or theirs is None or [int(value) for value in ours] != [int(value) for value in theirs]:
        raise SystemExit(f"The engines disagree: Postgres {ours}, DuckDB {theirs}.")
    return {"copy from Postgres": copy, "rollup and windows": build}


def main() -> None:
    """Generate, build, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--sessions", type=int, default=2_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rekindle-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        server = EmbeddedPostgres(folder / "postgres")
        server.start()
        try:
            server.ensure_database("bench")
            url = server.url("bench")
            migrate(url)
            with psycopg.connect(url, autocommit=True) as connection:
                sizes = {"users": options.users, "sessions": options.sessions, "history_days": HISTORY_DAYS}
                connection.execute(GENERATE_USERS.format(**sizes))
                connection.execute(GENERATE_SESSIONS.format(**sizes, first=0, end="2026-01-01 00:00+00"))
                connection.execute("vacuum analyze")
            project = DbtProject(folder / "dbt")
            project.read(url)
            first = build_with_dbt(project, url, AS_OF)
            peer = build_with_duckdb(url, folder)
            day_sessions = max(options.sessions // HISTORY_DAYS, 1)
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(GENERATE_NEW_DAY.format(users=options.users, sessions=day_sessions))
                for relation in ("raw.sessions", "marts.fct_user_days"):
                    connection.execute(f"analyze {relation}")
            next_day = build_with_dbt(project, url, AS_OF + timedelta(days=1))
            rollup = timed(project.build, url, AS_OF + timedelta(days=1), select=["fct_user_days"])
        finally:
            server.remove()
    print(
        f"{options.users:,} users, {options.sessions:,} sessions, {HISTORY_DAYS} days, {day_sessions:,} sessions a day"
    )
    for title, seconds in (("first full build", first), ("one new day", next_day)):
        parts = ", ".join(f"{layer} {value:.1f} s" for layer, value in seconds.items())
        print(f"{title}: {sum(seconds.values()):.1f} s ({parts})")
    print(f"of the new day the rollup: {rollup:.1f} s")
    print("DuckDB: " + ", ".join(f"{part} {value:.1f} s" for part, value in peer.items()))
    print(
        f"full build against DuckDB's rollup and windows: {sum(first.values()) / peer['rollup and windows']:.1f} times"
    )


if __name__ == "__main__":
    main()
