"""Whether chances came true, from counts by bin of the chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CalibrationBin:
    """Users whose chances were alike: how many, the sum of their chances, and how many did it."""

    users: int
    expected: float
    happened: int


@dataclass(frozen=True)
class CalibrationDrift:
    """How far chances and outcomes are apart.

    Attributes:
        users: users compared.
        error: expected calibration error: mean over users of the distance between chance and rate of their bin.
        by_chance: error that chances which hold exactly would show with so many users.
        mean_expected, mean_happened: mean chance, and the share who did it.
    """

    users: int
    error: float
    by_chance: float
    mean_expected: float
    mean_happened: float

    @property
    def excess(self) -> float:
        """Error beyond chance, never below 0."""
        return max(0.0, self.error - self.by_chance)


def calibration_drift(bins: Sequence[CalibrationBin]) -> CalibrationDrift:
    """Return how far the chances of some users lie from what happened.

    Source:
        Naeini, Cooper and Hauskrecht (2015) for the expected calibration error. What it is by chance is the mean of
        |rate - chance| under a binomial, sqrt(2 / pi) sqrt(p (1 - p) / n) in each bin.
    """
    known = [one for one in bins if one.users > 0]
    users = sum(one.users for one in known)
    if users == 0:
        return CalibrationDrift(0, 0.0, 0.0, 0.0, 0.0)
    count = np.array([one.users for one in known], dtype=np.float64)
    chance = np.array([one.expected for one in known]) / count
    rate = np.array([one.happened for one in known]) / count
    noise = np.sqrt(2 / np.pi * np.clip(chance * (1 - chance), 0, None) / count)
    return CalibrationDrift(
        users=users,
        error=float((count * np.abs(rate - chance)).sum() / users),
        by_chance=float((count * noise).sum() / users),
        mean_expected=float((count * chance).sum() / users),
        mean_happened=float((count * rate).sum() / users),
    )
