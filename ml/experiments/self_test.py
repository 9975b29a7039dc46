"""Does the machinery find effects where there are none? Experiments without a difference, on real users."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.experiments.assignment import ExperimentError, is_in_share
from ml.experiments.comparison import compare, sample_ratio_p_value
from ml.experiments.readout import SAMPLE_RATIO_LEVEL
from ml.experiments.statistics import MeanStatistic

__all__ = ["SelfTest", "run_self_test"]


@dataclass(frozen=True)
class SelfTest:
    """What came out of experiments without a difference (A/A).

    Attributes:
        experiments: how many were run.
        false_positives: share that claimed a difference at `alpha`.
        alarms: share whose split was withheld.
        alpha: the level they were read at.
    """

    experiments: int
    false_positives: float
    alarms: float
    alpha: float

    @property
    def is_sound(self) -> bool:
        """Whether the shares are what chance leaves, within four standard errors."""
        noise = np.sqrt(self.alpha * (1 - self.alpha) / self.experiments)
        is_level = abs(self.false_positives - self.alpha) <= 4 * noise
        return bool(is_level and self.alarms <= SAMPLE_RATIO_LEVEL + 4 * np.sqrt(SAMPLE_RATIO_LEVEL / self.experiments))

    @property
    def sentence(self) -> str:
        """The result in words."""
        verdict = "as it should be" if self.is_sound else "NOT as it should be: believe no experiment until it is found"
        return (
            f"{self.experiments} experiments without a difference: {self.false_positives:.1%} claim one at "
            f"{self.alpha:.0%}, {self.alarms:.2%} are withheld for their split; {verdict}."
        )


def run_self_test(
    user_ids: Sequence[str], figures: np.ndarray, *, experiments: int = 1000, alpha: float = 0.05, seed: int = 0
) -> SelfTest:
    """Split the same users in two by the published function under one salt after the other, and compare a figure.

    Args:
        user_ids: the users.
        figures: any figure of theirs from the past, shape (users,).
        experiments: number of salts.
        alpha: level of the comparison.
        seed: part of the salts.

    Raises:
        ExperimentError: fewer than 100 users, or a figure that does not vary.
    """
    users = list(user_ids)
    if len(users) < 100 or float(np.var(figures)) == 0:
        raise ExperimentError("The self-test needs at least 100 users with a figure that varies between them.")
    found = alarms = 0
    for number in range(experiments):
        side = is_in_share(f"self-test/{seed}/{number}", 0.5, users)
        counts = {"a": int(side.sum()), "b": int((~side).sum())}
        alarms += sample_ratio_p_value(counts, {"a": 1.0, "b": 1.0}) < SAMPLE_RATIO_LEVEL
        effect = compare(MeanStatistic.of(figures[side]), MeanStatistic.of(figures[~side]), alpha=alpha)
        found += effect.p_value < alpha
    return SelfTest(experiments, found / experiments, alarms / experiments, alpha)
