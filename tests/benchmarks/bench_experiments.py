"""Assignment and readout at size: `python -m tests.benchmarks.bench_experiments [--users 10000000]`.

Prints the seconds of assigning users in SQL (peer: hashing the same ids in Python) and of reading three metrics with
CUPED from sufficient statistics in Postgres (peer: the same sums in pandas).
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from local.postgres import EmbeddedPostgres
from ml.experiments import CovariateStatistic, Split, assign, buckets, compare, cuped, sql_assign
from warehouse.door import Warehouse

SPLIT = Split("bench", (("targeted", 0.7), ("random", 0.2), ("none", 0.1)), 1.0)
METRICS = ("returned", "converted", "revenue")


def timed(call: Callable[[], object]) -> tuple[float, object]:
    """Seconds and result of a call."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def sums() -> str:
    """SQL that gives the sufficient statistics of each arm and metric with its figure from before, in one pass."""
    parts = []
    for metric in METRICS:
        parts += [
            f"sum({metric})",
            f"sum({metric} * {metric})",
            f"sum({metric}_before)",
            f"sum({metric}_before * {metric}_before)",
            f"sum({metric} * {metric}_before)",
        ]
    return f"select arm, count(*), {', '.join(parts)} from outcomes group by arm order by arm"


def read(rows: list[tuple]) -> dict[str, float]:
    """Adjusted effect of the targeted arm on each metric."""
    effects = {}
    for position, metric in enumerate(METRICS):
        first = 2 + 5 * position
        arms = {row[0]: CovariateStatistic(int(row[1]), *map(float, row[first : first + 5])) for row in rows}
        control, treatment = cuped(arms["none"], arms["targeted"])
        effects[metric] = compare(control, treatment).value
    return effects


def main() -> None:
    """Run both and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000)
    users = parser.parse_args().users
    with tempfile.TemporaryDirectory(prefix="rekindle-bench-") as folder:
        Path(folder).chmod(0o711)
        server = EmbeddedPostgres(Path(folder) / "postgres", settings={"shared_buffers": "2GB"})
        server.start()
        try:
            run(Warehouse(server.url()), users)
        finally:
            server.remove()


def run(warehouse: Warehouse, users: int) -> None:
    """Assign and read `users` users."""
    with warehouse.transaction() as connection:
        connection.execute("set max_parallel_workers_per_gather = 2")
        connection.execute("set jit = off")
        connection.execute("set jit = off")
        connection.execute(
            f"create unlogged table users as select 'user ' || n as user_id from generate_series(1, {users}) as n"
        )
        connection.execute("analyze users")
        in_sql, _ = timed(
            lambda: connection.execute(
                f"create unlogged table arms as select user_id, {sql_assign(SPLIT, 'user_id')} as arm from users"
            )
        )
        some = [f"user {number}" for number in range(1, min(users, 1_000_000) + 1)]
        in_python, _ = timed(lambda: (assign(SPLIT, some), buckets("check", some)))
        in_python *= users / len(some)
        print(f"assign {users:,} users: SQL {in_sql:.1f} s, Python {in_python:.1f} s, ratio {in_python / in_sql:.1f}")
        drawn = [f"random() as {metric}{when}" for metric in METRICS for when in ("", "_before")]
        connection.execute(f"create unlogged table outcomes as select arm, {', '.join(drawn)} from arms")
        connection.execute("analyze outcomes")
        in_sql, rows = timed(lambda: connection.execute(sums()).fetchall())
    effects = read(rows)
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {f"{metric}{when}": random.random(users) for metric in METRICS for when in ("", "_before")}
        | {"arm": random.choice(["targeted", "random", "none"], users)}
    )

    def in_frame() -> pd.DataFrame:
        products = {f"{metric} x": frame[metric] * frame[f"{metric}_before"] for metric in METRICS} | {
            f"{name} x {name}": frame[name] * frame[name] for name in frame.columns if name != "arm"
        }
        return frame.assign(**products).groupby("arm").sum()

    peer, _ = timed(in_frame)
    shown = ", ".join(f"{metric} {effect:+.4f}" for metric, effect in effects.items())
    print(f"read 3 metrics of {users:,} users: Postgres {in_sql:.1f} s, pandas {peer:.1f} s, ratio {peer / in_sql:.1f}")
    print(f"effects (truth 0): {shown}")


if __name__ == "__main__":
    main()
