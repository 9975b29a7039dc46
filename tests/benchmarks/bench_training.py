"""Training all candidates: `python -m tests.benchmarks.bench_training [--rows 200000] [--features 60]`.

Generated moments of a third as many users, a few features of which move the chance to return. Prints seconds and CPU
seconds of comparing, calibrating and refitting all candidates, what was chosen, and the ratio to the peer: one bare
CatBoost fit (same trees, same threads) on all rows.
"""

import argparse
import resource
import time

import numpy as np
import pandas as pd
from catboost import CatBoostClassifier

from ml.response import Examples
from ml.response.baseline import select_baseline
from ml.response.learners import BoostingSettings

THREADS = 2


def examples_of(rows: int, features: int) -> Examples:
    """Counts, amounts with gaps and two texts; the chance follows from four of them."""
    draw = np.random.default_rng(0)
    columns: dict[str, np.ndarray] = {
        "days_since_last_activity": draw.integers(30, 400, rows).astype(float),
        "sessions_count_90d": draw.poisson(3, rows).astype(float),
        "country": draw.choice(["DE", "FR", "PL", "US", "JP"], rows),
        "last_device_type": draw.choice(["mobile", "desktop", "tablet"], rows),
    }
    for number in range(features - len(columns)):
        column = np.exp(draw.normal(size=rows))
        column[draw.random(rows) < 0.1] = np.nan
        columns[f"measure_{number}"] = column
    score = -1.0 - 0.008 * columns["days_since_last_activity"] + 0.2 * columns["sessions_count_90d"]
    score += 0.5 * (columns["country"] == "DE") * (columns["last_device_type"] == "mobile")
    score += 0.3 * np.nan_to_num(np.log(columns["measure_0"]))
    return Examples(
        features=pd.DataFrame(columns),
        event_features=pd.DataFrame(index=range(rows)),
        user_ids=np.array([f"user {number}" for number in draw.integers(0, rows // 3, rows)], dtype=object),
        event_types=np.full(rows, "", dtype=object),
        is_exposed=np.zeros(rows, dtype=bool),
        assignment_probability=np.full(rows, np.nan),
        reference_days=17_000 + 7 * draw.integers(0, 40, rows),
        outcome=(draw.random(rows) < 1 / (1 + np.exp(-score))).astype(float),
    )


def main() -> None:
    """Measure once and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--features", type=int, default=60)
    chosen = parser.parse_args()
    examples = examples_of(chosen.rows, chosen.features)
    begun, begun_cpu = time.perf_counter(), time.process_time()
    baseline = select_baseline("chance", examples, np.ones(len(examples)), thread_count=THREADS)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
    settings = BoostingSettings()
    peer = CatBoostClassifier(
        iterations=settings.iterations,
        depth=settings.depth,
        learning_rate=settings.learning_rate,
        thread_count=THREADS,
        cat_features=["country", "last_device_type"],
        allow_writing_files=False,
        verbose=False,
    )
    begun, begun_cpu = time.perf_counter(), time.process_time()
    peer.fit(examples.features, examples.outcome)
    bare, bare_cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
    assert baseline.comparison is not None
    losses = ", ".join(f"{name} {loss:.4f}" for name, loss in baseline.comparison.losses.items())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{chosen.rows:,} rows x {chosen.features} features, {THREADS} threads; chosen: {baseline.learner.name}")
    print(f"later log loss: {losses}")
    print(f"all candidates  {seconds:7.1f} s  {cpu:7.1f} CPU s  peak {memory:.2f} GB")
    print(f"bare CatBoost   {bare:7.1f} s  {bare_cpu:7.1f} CPU s  ratio {cpu / bare_cpu:.1f}")


if __name__ == "__main__":
    main()
