"""Value of a million customers: fit and score, against `lifetimes` in the same run.

python -m tests.benchmarks.bench_value [customers]
"""

import resource
import sys
import time
import warnings

import numpy as np

from ml.value import BetaGeometric, GammaGamma, LifetimeValueModel, ModifiedBetaGeometric, ParetoNBD

TRUTH = {"r": 0.6, "alpha": 25.0, "a": 0.8, "b": 2.5}


def customers(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Histories by the day of customers who first bought up to a year ago, and their mean amounts."""
    random = np.random.default_rng(1)
    T = random.integers(30, 366, count).astype(float)
    x, t_x = BetaGeometric.from_parameters(**TRUTH).simulate(T, random_state=random)
    t_x = np.clip(np.round(t_x), x > 0, T)
    price = random.gamma(4.0, 1 / 15.0, count)
    z = np.where(x > 0, random.gamma(6.0 * np.maximum(x, 1)) / (price * np.maximum(x, 1)), np.nan)
    return x, t_x, T, z


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    x, t_x, T, z = customers(count)
    print(f"{count:,} customers, {np.count_nonzero(x):,} of them with repeat purchases")
    seconds, worked = {}, {}
    for kind in (BetaGeometric, ModifiedBetaGeometric, ParetoNBD):
        fits = []
        for _ in range(3):
            start, busy = time.perf_counter(), time.process_time()
            model = kind().fit(x, t_x, T)
            fits.append((time.perf_counter() - start, time.process_time() - busy))
        seconds[kind.kind], worked[kind.kind] = np.median(fits, axis=0)
        start = time.perf_counter()
        model.p_alive(x, t_x, T)
        model.expected_purchases(365, x, t_x, T)
        scored = time.perf_counter() - start
        figures = ", ".join(
            f"{name} {value:.4f} ({model.standard_errors_[name]:.4f})" for name, value in model.parameters_.items()
        )
        print(
            f"{kind.kind}: fit {seconds[kind.kind]:.3f} s ({worked[kind.kind]:.3f} s of processor), "
            f"p_alive and purchases of all {scored:.3f} s; {figures}"
        )
    start = time.perf_counter()
    spend = GammaGamma().fit(x, z)
    print(f"gamma_gamma: fit {time.perf_counter() - start:.3f} s; {spend.parameters_}")
    start = time.perf_counter()
    whole = LifetimeValueModel(yearly_discount=0.1).fit(x, t_x, T, z)
    fitted = time.perf_counter()
    whole.predict(x, t_x, T, z)
    print(
        f"lifetime value, discounted by the month: fit {fitted - start:.2f} s, "
        f"score all {time.perf_counter() - fitted:.2f} s"
    )
    print(f"peak memory before the peer {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")

    warnings.simplefilter("ignore")
    from lifetimes import BetaGeoFitter

    start, busy = time.perf_counter(), time.process_time()
    peer = BetaGeoFitter().fit(x, t_x, T)
    peer_seconds, peer_worked = time.perf_counter() - start, time.process_time() - busy
    found = ", ".join(f"{name} {value:.4f}" for name, value in peer.params_.items())
    print(f"lifetimes BetaGeoFitter: fit {peer_seconds:.2f} s ({peer_worked:.2f} s of processor); {found}")
    print(
        f"bg_nbd is {peer_seconds / seconds['bg_nbd']:.0f} times as fast as lifetimes by the clock, "
        f"{peer_worked / worked['bg_nbd']:.0f} times by processor time"
    )


if __name__ == "__main__":
    main()
