"""Do readouts hold the truth? `python -m tests.benchmarks.bench_coverage [--players 5000] [--runs 300]`.

Writes a game world, whose players' true chances with and without each open event are known, draws campaigns from them
again and again (arms, returns, payments), reads each as the product does, and counts how often the intervals hold the
truth: at the end (fixed), at four looks (group sequential), and on each of 28 days (always valid), where a run counts
only if *every* interval holds. The peer is the fixed interval, peeked at daily.
"""

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from local.samples import game_world
from ml.experiments import (
    CovariateStatistic,
    Design,
    Metric,
    Stratum,
    crossing_chance,
    read_campaign,
    sequential_half_width,
)

METRICS = (
    Metric("return", "returned", is_share=True),
    Metric("conversion", "converted", is_share=True),
    Metric("revenue", "paid", is_share=False),
)
DAYS = 28
# An interval for each metric: no correction, so that each has its own level.
DESIGNS = {
    "fixed": Design(kind="fixed"),
    "group-sequential": Design(kind="group-sequential", looks=4),
    "always-valid": Design(kind="always-valid", tuning=30_000),
    "fixed, peeked": Design(kind="fixed"),
}
PEEKS = {"fixed": 1, "group-sequential": 4, "always-valid": DAYS, "fixed, peeked": DAYS}


@dataclass(frozen=True)
class Truth:
    """What would happen to each player; arrays of shape (players,), the last axis of pairs is (uninvited, invited).

    Attributes:
        returns, conversions: chances, shape (players, 2); of paying after a return.
        revenue: expected revenue of who pays.
        limit: at which revenue is cut (winsorised).
    """

    returns: np.ndarray
    conversions: np.ndarray
    revenue: np.ndarray
    limit: float

    @classmethod
    def read(cls, folder: Path) -> "Truth":
        """Read the truth of the event with most to say, for players who agreed to be written to."""
        rows = pq.read_table(folder / "responses.parquet").to_pandas()
        rows = rows[rows["best_channel"].notna()]
        gains = (rows["p_return"] - rows["p_return_if_not_contacted"]).groupby(rows["event_id"]).mean()
        rows = rows[rows["event_id"] == gains.abs().idxmax()]
        revenue = rows["revenue"].to_numpy()
        return cls(
            rows[["p_return_if_not_contacted", "p_return"]].to_numpy(),
            rows[["p_conversion_if_not_contacted", "p_conversion"]].to_numpy(),
            revenue,
            float(np.quantile(revenue, 0.9) * 3),
        )

    @property
    def effects(self) -> dict[str, float]:
        """The true effect of an invitation on each metric, over all players."""
        paid = self.returns * self.conversions
        # Revenue is drawn exponential around its mean, of which the mean below a limit is known.
        cut = self.revenue * -np.expm1(-self.limit / self.revenue)
        return {
            "return": float(np.mean(self.returns[:, 1] - self.returns[:, 0])),
            "conversion": float(np.mean(paid[:, 1] - paid[:, 0])),
            "revenue": float(np.mean((paid[:, 1] - paid[:, 0]) * cut)),
        }


def draw_campaign(truth: Truth, users: int, random: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Draw one campaign: who is invited, and figures of each metric with those from before ("before")."""
    chosen = random.integers(0, len(truth.revenue), users)
    invited = (random.random(users) < 0.5).astype(int)
    returned = random.random(users) < truth.returns[chosen, invited]
    converted = returned & (random.random(users) < truth.conversions[chosen, invited])
    revenue = np.minimum(converted * random.exponential(truth.revenue[chosen]), truth.limit)
    before = random.poisson(20 * truth.returns[chosen, 0]).astype(float)
    figures = {"return": returned.astype(float), "conversion": converted.astype(float), "revenue": revenue}
    return invited.astype(bool), figures | {"before": before}


def sums_by_day(invited: np.ndarray, figures: dict[str, np.ndarray]) -> dict[tuple[str, bool], np.ndarray]:
    """What the warehouse would have added up by each day, of each metric and side: shape (days, 6)."""
    day = np.arange(invited.size) * DAYS // invited.size
    before, sums = figures["before"], {}
    for metric in METRICS:
        value = figures[metric.name]
        columns = (np.ones_like(value), value, value * value, before, before * before, value * before)
        for side in (True, False):
            rows = invited == side
            sums[metric.name, side] = np.cumsum(
                [np.bincount(day[rows], column[rows], minlength=DAYS) for column in columns], axis=1
            ).T
    return sums


def strata_of(sums: dict[tuple[str, bool], np.ndarray], day: int) -> list[Stratum]:
    """The campaign as of a day."""
    sides = [
        {
            metric.name: CovariateStatistic(int(sums[metric.name, side][day, 0]), *sums[metric.name, side][day, 1:])
            for metric in METRICS
        }
        for side in (True, False)
    ]
    return [Stratum("targeted", "all", 0.5, *sides)]


def looks_of(design: str) -> Iterator[tuple[int, int]]:
    """Number of each look of a design and the day it is taken after."""
    for look in range(1, PEEKS[design] + 1):
        yield look, DAYS * look // PEEKS[design] - 1


def coverage(
    truth: Truth, *, runs: int, users: int, designs: Iterable[str] = tuple(DESIGNS), seed: int = 0
) -> dict[tuple[str, str], tuple[int, int]]:
    """Runs that were read and runs in which every interval held the truth, by (design, metric)."""
    random, effects = np.random.default_rng(seed), truth.effects
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for _ in range(runs):
        sums = sums_by_day(*draw_campaign(truth, users, random))
        for name in designs:
            holds: dict[str, bool] = {}
            for look, day in looks_of(name):
                readout = read_campaign(
                    strata_of(sums, day), METRICS, deciding_arm="targeted", design=DESIGNS[name], look=look
                )
                for finding in readout.findings:
                    if finding.segment == "all":
                        is_held = finding.effect.low <= effects[finding.metric] <= finding.effect.high
                        holds[finding.metric] = holds.get(finding.metric, True) and is_held
            for metric, is_held in holds.items():
                counts[name, metric][0] += 1
                counts[name, metric][1] += is_held
    return {key: (read, held) for key, (read, held) in sorted(counts.items())}


def main() -> None:
    """Write a world, draw the campaigns and print a line each design and metric."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--players", type=int, default=5_000)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--users", type=int, default=150_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rekindle-bench-") as folder:
        truth_folder = Path(folder) / "truth"
        game_world.write_source(
            Path(folder) / "source", players=options.players, seed=1, variant="slopes", truth_folder=truth_folder
        )
        truth = Truth.read(truth_folder)
    print("true effects: " + ", ".join(f"{name} {value:+.4f}" for name, value in truth.effects.items()))
    for (design, metric), (read, held) in coverage(truth, runs=options.runs, users=options.users).items():
        print(f"{design:>17} {metric:>10}: {held / read:6.1%} of {read} runs hold the truth")
    print(f"     always-valid: theory says {1 - expected_misses(options.users):.1%} at least")


def expected_misses(users: int) -> float:
    """Chance that an always-valid interval ever misses on the days, by the law of the score between them."""
    tuning = DESIGNS["always-valid"].tuning
    boundaries = [sequential_half_width(1.0, users * day // DAYS, tuning=tuning) for day in range(1, DAYS + 1)]
    return float(crossing_chance(tuple(boundaries))[-1])


if __name__ == "__main__":
    main()
