"""How strong something unseen would have to be to explain an adjusted effect away."""

from __future__ import annotations

import math
from collections.abc import Callable


def e_value(risk_ratio: float) -> float:
    """Return the E-value of a risk ratio (VanderWeele and Ding 2017): 1 means nothing unseen is needed.

    It is the least risk ratio that an unmeasured cause must have with both the exposure and the outcome, beyond all
    that was adjusted for, to turn the observed ratio into 1.
    """
    if not risk_ratio > 0 or not math.isfinite(risk_ratio):
        return math.inf
    ratio = max(risk_ratio, 1.0 / risk_ratio)
    return ratio + math.sqrt(ratio * (ratio - 1.0))


def e_values_of_chance(rate_exposed: float, low: float, high: float, effect: float) -> tuple[float, float]:
    """E-values of a difference of chances: of the estimate, and of the end of its interval nearer to no effect.

    Args:
        rate_exposed: chance among the exposed, > 0.
        low, high: interval of the difference.
        effect: the difference; what the exposed would have done otherwise is `rate_exposed - effect`.
    """
    return _ratio_e_value(rate_exposed, effect), _nearer_e_value(
        low, high, lambda end: _ratio_e_value(rate_exposed, end)
    )


def e_values_of_amount(low: float, high: float, effect: float, deviation: float) -> tuple[float, float]:
    """E-values of a difference of means, through the ratio exp(0.91 d) of its size in standard deviations d."""

    def of_difference(difference: float) -> float:
        return e_value(math.exp(0.91 * difference / deviation)) if deviation > 0 else 1.0

    return of_difference(effect), _nearer_e_value(low, high, of_difference)


def _ratio_e_value(rate_exposed: float, effect: float) -> float:
    """E-value of the ratio that a difference of chances means; infinite where nobody would have come otherwise."""
    otherwise = rate_exposed - effect
    if rate_exposed <= 0 or otherwise <= 0:
        return math.inf
    return e_value(rate_exposed / otherwise)


def _nearer_e_value(low: float, high: float, of_difference: Callable[[float], float]) -> float:
    """E-value of the interval's end nearer to zero; 1 where the interval holds zero."""
    if low <= 0 <= high:
        return 1.0
    return of_difference(low if low > 0 else high)
