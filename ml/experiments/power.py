"""How many users an experiment needs, and how long it takes, before it is launched."""

import math
from typing import Literal

import numpy as np
from scipy import optimize, stats

from ml.experiments.assignment import ExperimentError

Formula = Literal["pooled", "unpooled", "null-variance", "arcsine"]


def users_for_proportions(
    control: float, treatment: float, *, power: float = 0.8, alpha: float = 0.05, formula: Formula = "pooled"
) -> float:
    """Users in each of two equal groups that show a difference of two proportions, two-sided; not rounded.

    Formulas: "pooled" takes the mean proportion under the null (Fleiss), "null-variance" the control's,
    "unpooled" each group's own throughout, "arcsine" Cohen's h.

    Raises:
        ExperimentError: a proportion is not between 0 and 1, or both are the same.
    """
    if not (0 <= control <= 1 and 0 <= treatment <= 1) or control == treatment:
        raise ExperimentError("Two different proportions between 0 and 1 are needed.")
    level, strength = float(stats.norm.ppf(1 - alpha / 2)), float(stats.norm.ppf(power))
    alternative = control * (1 - control) + treatment * (1 - treatment)
    if formula == "arcsine":
        gap = 2 * math.asin(math.sqrt(treatment)) - 2 * math.asin(math.sqrt(control))
        return 2 * ((level + strength) / gap) ** 2
    middle = (control + treatment) / 2
    null = {
        "pooled": 2 * middle * (1 - middle),
        "null-variance": 2 * control * (1 - control),
        "unpooled": alternative,
    }[formula]
    return ((level * math.sqrt(null) + strength * math.sqrt(alternative)) / (treatment - control)) ** 2


def users_for_means(effect_size: float, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """Users in each of two equal groups for a two-sided t-test on Cohen's d; not rounded."""
    if effect_size == 0:
        raise ExperimentError("No number of users shows an effect of 0.")

    def lacking(n: float) -> float:
        degrees, shift = 2 * n - 2, abs(effect_size) * math.sqrt(n / 2)
        critical = stats.t.ppf(1 - alpha / 2, degrees)
        # The far tail underflows to NaN for large shifts: it is nothing there.
        far_tail = np.nan_to_num(stats.nct.cdf(-critical, degrees, shift))
        return float(stats.nct.sf(critical, degrees, shift) + far_tail) - power

    normal = 2 * ((stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power)) / effect_size) ** 2
    least, most = 2.0, 2 * normal + 20
    return least if lacking(least) >= 0 else float(optimize.brentq(lacking, least, most))


def users_with_control_share(equal_groups: float, control_share: float) -> float:
    """Users in both arms together that know as much as two groups of `equal_groups`, one with a share of all users.

    The noise of a difference goes with 1/n + 1/m: unequal arms need 1 / (4 s (1 - s)) times the users of equal ones.
    """
    if not 0 < control_share < 1:
        raise ExperimentError("The control's share must lie between 0 and 1.")
    return equal_groups / (2 * control_share * (1 - control_share))


def smallest_visible_difference(
    control: float, users_control: float, users_treatment: float, *, power: float = 0.8, alpha: float = 0.05
) -> float:
    """The smallest rise above a proportion that groups of these sizes show with this power (unpooled variances)."""
    if min(users_control, users_treatment) <= 0:
        raise ExperimentError("Both groups need users.")
    factor = float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))

    def lacking(rise: float) -> float:
        noise = control * (1 - control) / users_control + (control + rise) * (1 - control - rise) / users_treatment
        return rise - factor * math.sqrt(noise)

    return float(optimize.brentq(lacking, 0.0, 1 - control)) if lacking(1 - control) > 0 else math.inf


def days_needed(users: float, users_a_day: float, window_days: int) -> int:
    """Days until the last needed user has been followed for the whole outcome window."""
    if users_a_day <= 0:
        raise ExperimentError("Nobody enters the experiment: it never ends.")
    return math.ceil(users / users_a_day) + window_days
