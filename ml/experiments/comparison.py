"""Two arms compared once, at the end: difference, interval and p-value; and the chance that one is better."""

import math
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from ml.experiments.assignment import ExperimentError
from ml.experiments.statistics import Statistic

Scale = Literal["absolute", "relative"]


@dataclass(frozen=True)
class Effect:
    """What one arm differs by from another.

    Attributes:
        value: the difference (absolute), or the difference as a share of the control's mean (relative).
        low, high: the interval at level 1 - alpha.
        p_value: of no difference, two-sided; for always-valid methods valid at every look.
        standard_error: of `value`.
        n: users in both arms.
        method: how the interval was made, in words.
    """

    value: float
    low: float
    high: float
    p_value: float
    standard_error: float
    n: int
    method: str

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval says that there is a difference."""
        return self.low > 0 or self.high < 0


def difference(control: Statistic, treatment: Statistic, scale: Scale = "absolute") -> tuple[float, float]:
    """The difference and its standard error; the relative one by the delta method.

    Raises:
        ExperimentError: relative to a control of 0.
    """
    control_noise, treatment_noise = control.variance / control.n, treatment.variance / treatment.n
    gain = treatment.mean - control.mean
    if scale == "absolute":
        return gain, math.sqrt(control_noise + treatment_noise)
    if control.mean == 0:
        raise ExperimentError("A relative effect needs a control above 0: read the absolute effect.")
    ratio = treatment.mean / control.mean
    return gain / control.mean, math.sqrt(treatment_noise + ratio * ratio * control_noise) / abs(control.mean)


def welch_degrees(control: Statistic, treatment: Statistic) -> float:
    """Degrees of freedom of Welch's t-test (Satterthwaite 1946)."""
    control_noise, treatment_noise = control.variance / control.n, treatment.variance / treatment.n
    below = control_noise**2 / max(control.n - 1, 1) + treatment_noise**2 / max(treatment.n - 1, 1)
    return (control_noise + treatment_noise) ** 2 / below if below > 0 else math.inf


def compare(control: Statistic, treatment: Statistic, *, alpha: float = 0.05, scale: Scale = "absolute") -> Effect:
    """Welch's t-test on sufficient statistics. Valid at one look that was fixed beforehand.

    Raises:
        ExperimentError: an arm has fewer than two users, or both have no variance at all.
    """
    if min(control.n, treatment.n) < 2:
        raise ExperimentError("An arm needs at least two users: wait until more are assigned.")
    value, error = difference(control, treatment, scale)
    n = control.n + treatment.n
    method = f"Welch's t-test, {scale}"
    if error == 0:
        # Without variance the difference is what it is: certain in the data, silent about anything else.
        return Effect(value, value, value, 1.0 if value == 0 else 0.0, 0.0, n, method)
    degrees = welch_degrees(control, treatment)
    half = float(stats.t.ppf(1 - alpha / 2, degrees)) * error
    p_value = float(2 * stats.t.sf(abs(value) / error, degrees))
    return Effect(value, value - half, value + half, p_value, error, n, method)


def chance_to_win(
    control: Statistic,
    treatment: Statistic,
    *,
    scale: Scale = "relative",
    prior_mean: float = 0.0,
    prior_deviation: float = math.inf,
) -> float:
    """Chance that the treatment is better: normal likelihood, normal prior on the effect (flat unless set)."""
    value, error = difference(control, treatment, scale)
    if error == 0:
        return 0.5 if value == 0 else float(value > 0)
    precision, prior = 1 / error**2, 1 / prior_deviation**2
    mean = (precision * value + prior * prior_mean) / (precision + prior)
    return float(stats.norm.cdf(mean * math.sqrt(precision + prior)))


def expected_loss(control: Statistic, treatment: Statistic) -> float:
    """What choosing the treatment is expected to cost per user if the control was better, with a flat prior."""
    value, error = difference(control, treatment)
    if error == 0:
        return max(0.0, -value)
    standardised = value / error
    return float(error * (stats.norm.pdf(standardised) - standardised * stats.norm.sf(standardised)))


def sample_ratio_p_value(counts: dict[str, int], weights: dict[str, float]) -> float:
    """Chance of a split at least this far from the intended one (chi-squared): below .001, do not read the result.

    Args:
        counts: users by arm.
        weights: intended weight by arm, any positive scale.

    Raises:
        ExperimentError: the arms of the two do not agree, or there are no users.
    """
    if set(counts) != set(weights) or sum(counts.values()) == 0 or min(weights.values()) <= 0:
        raise ExperimentError("The sample ratio needs counts of users and positive weights for the same arms.")
    whole, weight = sum(counts.values()), sum(weights.values())
    expected = {arm: whole * weights[arm] / weight for arm in counts}
    statistic = sum((counts[arm] - expected[arm]) ** 2 / expected[arm] for arm in counts)
    return float(stats.chi2.sf(statistic, len(counts) - 1))
