"""How often bootstrap intervals of total purchases to come hold the truth, in more worlds than the tests have.

python -m tests.benchmarks.bench_bootstrap [worlds]
"""

import sys
import time

import numpy as np

from ml.value import BetaGeometric, ModifiedBetaGeometric, ParetoNBD, PurchaseModel

CUSTOMERS, DRAWS, HORIZON = 400, 99, 180.0
BETA_GEOMETRIC = {"r": 0.6, "alpha": 25.0, "a": 0.8, "b": 2.5}
WORLDS: dict[type[PurchaseModel], dict[str, float]] = {
    BetaGeometric: BETA_GEOMETRIC,
    ModifiedBetaGeometric: BETA_GEOMETRIC,
    ParetoNBD: {"r": 0.6, "alpha": 25.0, "s": 0.7, "beta": 60.0},
}


def main() -> None:
    worlds = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    print(f"{worlds} worlds of {CUSTOMERS} customers, {DRAWS} draws each; the intervals are to hold 95 %")
    for kind, parameters in WORLDS.items():
        truth = kind.from_parameters(**parameters)
        held, widths = 0, []
        start = time.process_time()
        for world in range(worlds):
            random = np.random.default_rng(world)
            T = random.integers(200, 400, CUSTOMERS).astype(float)
            x, t_x = truth.simulate(T, random_state=random)
            happened = truth.simulate_future(HORIZON, x, t_x, T, random_state=random).sum()
            interval = kind().fit(x, t_x, T).total_interval(HORIZON, x, t_x, T, draws=DRAWS, random_state=world)
            held += interval.low <= happened <= interval.high
            widths.append((interval.high - interval.low) / max(interval.expected, 1.0))
        share = held / worlds
        print(
            f"{kind.kind}: {share:.1%} hold the truth (standard error {np.sqrt(share * (1 - share) / worlds):.1%}), "
            f"median width {np.median(widths):.0%} of the expectation; {time.process_time() - start:.0f} s of processor"
        )


if __name__ == "__main__":
    main()
