"""Withdrawals against publishes: `python -m tests.benchmarks.bench_consents [--races 10000]`.

Several writers withdraw and renew consents while plans are published without a pause. After every withdrawal its user
is looked for in the audience. Prints how many were found (P1: none), how long a withdrawal takes beside a bare insert
into a table of the same shape, and how many publishes ran meanwhile.
"""

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event

from local.postgres import EmbeddedPostgres
from ml.pipelines.publish import publish_targets
from tests.ml.pipelines.test_publish import grant, predict
from warehouse.consents import record_consent
from warehouse.door import Warehouse
from warehouse.migrations import migrate
from warehouse.settings import Settings, load_settings

DAY = date(2018, 1, 2)
START = datetime(2018, 1, 1, tzinfo=UTC)
USERS, WRITERS = 150, 4


def main() -> None:
    """Run the races and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--races", type=int, default=10_000)
    races = parser.parse_args().races
    with tempfile.TemporaryDirectory(prefix="rekindle-bench-") as folder:
        Path(folder).chmod(0o711)
        server = EmbeddedPostgres(Path(folder) / "postgres")
        server.start()
        try:
            migrate(server.url())
            race(Warehouse(server.url()), replace(load_settings(), warehouse_url=server.url()), races)
        finally:
            server.remove()


def prepare(warehouse: Warehouse) -> None:
    """A plan of 150 targets among 180 inactive users, all of whom agreed."""
    warehouse.execute("create table features.feat_user_behaviour (user_id text, as_of_date date, is_inactive boolean)")
    columns = "user_id text, event_id text, exposed_at timestamptz, arm text"
    warehouse.execute(f"create table marts.fct_exposures ({columns})")
    columns = "user_id text, channel text, is_granted boolean, decided_at timestamptz"
    warehouse.execute(f"create table privacy.bare ({columns})")
    warehouse.execute(
        "insert into features.feat_user_behaviour select 'user ' || n, %s, mod(n, 10) <> 0 "
        "from generate_series(1, 200) as n",
        (DAY,),
    )
    grant(warehouse)
    predict(warehouse, DAY, version="a")


def race(warehouse: Warehouse, settings: Settings, races: int) -> None:
    """Let writers and publishers run against each other."""
    prepare(warehouse)
    done = Event()

    def write(writer: int) -> tuple[int, list[float]]:
        found, seconds = 0, []
        for number in range(races // WRITERS):
            user = f"user {1 + (writer + WRITERS * number) % USERS}"
            when = START + timedelta(seconds=2 * number)
            begin = time.perf_counter()
            record_consent(warehouse, user, ["mail"], is_granted=False, decided_at=when)
            seconds.append(time.perf_counter() - begin)
            found += bool(warehouse.scalar("select true from marketing.targets where user_id = %s", (user,)))
            record_consent(warehouse, user, ["mail"], is_granted=True, decided_at=when + timedelta(seconds=1))
        return found, seconds

    def publish() -> int:
        count = 0
        while not done.is_set():
            publish_targets(DAY, settings)
            count += 1
        return count

    begin = time.perf_counter()
    with ThreadPoolExecutor(WRITERS + 2) as pool:
        publishers = [pool.submit(publish) for _ in range(2)]
        written = [future.result() for future in [pool.submit(write, number) for number in range(WRITERS)]]
        done.set()
        publishes = sum(future.result() for future in publishers)
    elapsed = time.perf_counter() - begin
    found, seconds = sum(each[0] for each in written), [second for each in written for second in each[1]]
    without = warehouse.scalar(
        "select count(*) from marketing.targets left join privacy.granted_consents as granted "
        "using (user_id, channel, purpose) where granted.user_id is null"
    )
    bare = []
    for number in range(200):
        begin = time.perf_counter()
        warehouse.execute("insert into privacy.bare values ('u', 'mail', false, %s)", (START + timedelta(days=number),))
        bare.append(time.perf_counter() - begin)
    print(
        f"{len(seconds):,} withdrawals against {publishes:,} publishes in {elapsed:.0f} s: {found} users found in the "
        f"audience after their withdrawal, {without} targets without a grant at the end"
    )
    median, peer = statistics.median(seconds), statistics.median(bare)
    print(f"median withdrawal {1000 * median:.1f} ms, a bare insert {1000 * peer:.1f} ms, ratio {median / peer:.1f}")


if __name__ == "__main__":
    main()
