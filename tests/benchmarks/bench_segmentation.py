"""Segments of a million users: find, name, assign; against scikit-learn's MiniBatchKMeans over the same numbers of k.

python -m tests.benchmarks.bench_segmentation [users]
"""

import resource
import sys
import time

import numpy as np
import pandas as pd
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import StandardScaler

from ml.segmentation import UserSegmenter


def users(count: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Five kinds of users in forty columns, most of which are windows of the same figures, some with gaps."""
    random = np.random.default_rng(2)
    kind = random.integers(0, 5, count)
    spend = np.where(
        kind == 0, random.lognormal(6, 0.6, count), np.where(kind == 1, random.lognormal(2, 0.5, count), 0)
    )
    sessions = np.where(kind == 2, random.poisson(80, count), random.poisson(12, count)).astype(float)
    table = {"weekend_share": np.where(kind == 3, random.beta(16, 4, count), random.beta(6, 14, count))}
    table["friends_count"] = np.where(kind == 4, random.poisson(30, count), random.poisson(2, count)).astype(float)
    table["days_since_last_activity"] = random.integers(30, 300, count).astype(float)
    table["days_since_last_payment"] = np.where(spend > 0, random.integers(30, 365, count), np.nan)
    for window in (28, 90, 180, 365):
        part = window / 365
        table[f"payments_amount_{window}d"] = spend * random.beta(20 * part + 0.5, 20 * (1 - part) + 0.5, count)
        table[f"sessions_count_{window}d"] = random.binomial(sessions.astype(int), part).astype(float)
        table[f"active_days_count_{window}d"] = np.ceil(table[f"sessions_count_{window}d"] * 0.7)
        table[f"payments_count_{window}d"] = np.ceil(table[f"payments_amount_{window}d"] / 30)
    for number in range(20):
        table[f"other_{number}"] = random.normal(size=count)
    return pd.DataFrame(table), kind


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    frame, kind = users(count)
    print(f"{count:,} users, {frame.shape[1]} columns")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    start = time.perf_counter()
    segmenter = UserSegmenter(random_state=0).fit(frame)
    fitted = time.perf_counter()
    segments = segmenter.predict(frame)
    assigned = time.perf_counter()
    segmenter.describe(frame, segments)
    described = time.perf_counter()
    ours = described - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"fit {fitted - start:.2f} s, assign all {assigned - fitted:.2f} s, profiles {described - assigned:.2f} s, "
        f"together {ours:.2f} s; peak memory {peak:.2f} GB, of which the table {before:.2f} GB"
    )
    print(f"{segmenter.choice_}; ARI with the planted kinds {adjusted_rand_score(kind, segments):.3f}")
    for profile in segmenter.profiles_:
        print(f"  {profile.segment}: {profile.share:.1%}, {profile.definition}")
    start = time.perf_counter()
    points = StandardScaler().fit_transform(frame.fillna(frame.median()))
    best = 0.0
    for clusters in range(3, 9):
        peer = MiniBatchKMeans(clusters, n_init=1, batch_size=4096, random_state=0).fit(points)
        best = max(best, adjusted_rand_score(kind, peer.labels_))
    seconds = time.perf_counter() - start
    print(f"scikit-learn, k from 3 to 8, neither choice nor names: {seconds:.2f} s; best ARI of the six {best:.3f}")
    print(f"ours takes {ours / seconds:.2f} of that time")


if __name__ == "__main__":
    main()
