"""Experiments that are looked at while they run: intervals and p-values that hold at every look.

Always-valid methods allow any number of looks at any time and pay with wider intervals. Group sequential boundaries
allow a number of looks fixed beforehand and pay less.
"""

import math
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy import optimize, stats

from ml.experiments.assignment import ExperimentError
from ml.experiments.comparison import Effect, Scale, difference
from ml.experiments.statistics import Statistic

GRID_POINTS = 161


def sequential_rho(alpha: float, tuning: float) -> float:
    """Mixture parameter that makes the confidence sequence tightest around `tuning` users (Howard et al. 2022)."""
    return math.sqrt((-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / tuning)


def sequential_half_width(standard_error: float, n: int, *, alpha: float = 0.05, tuning: float = 5000) -> float:
    """Half width at `n` users of an asymptotic confidence sequence, which holds at every look at once."""
    rho = sequential_rho(alpha, tuning)
    spread = n * rho * rho + 1
    inside = 2 * spread * math.log(math.sqrt(spread) / alpha) / (n * rho) ** 2
    return standard_error * math.sqrt(n) * math.sqrt(inside)


def compare_always_valid(
    control: Statistic,
    treatment: Statistic,
    *,
    alpha: float = 0.05,
    scale: Scale = "absolute",
    tuning: float = 5000,
) -> Effect:
    """Difference with an interval and a p-value that may be looked at as often as one likes.

    The p-value is the smallest alpha whose confidence sequence excludes no difference.

    Args:
        control, treatment: the arms so far.
        alpha: chance that the true difference is ever outside the interval.
        scale: absolute or relative to the control.
        tuning: number of users at which the interval should be tightest; fix it before the first look.
    """
    if min(control.n, treatment.n) < 2:
        raise ExperimentError("An arm needs at least two users: wait until more are assigned.")
    value, error = difference(control, treatment, scale)
    n = control.n + treatment.n
    return always_valid_effect(value, error, n, alpha=alpha, tuning=tuning, method=f"confidence sequence, {scale}")


def always_valid_effect(
    value: float,
    error: float,
    n: int,
    *,
    alpha: float = 0.05,
    tuning: float = 5000,
    method: str = "confidence sequence, absolute",
) -> Effect:
    """Interval and p-value of any estimate with a standard error that may be looked at as often as one likes."""
    half = sequential_half_width(error, n, alpha=alpha, tuning=tuning)
    p_value = _always_valid_p_value(value, error, n, sequential_rho(alpha, tuning))
    return Effect(value, value - half, value + half, p_value, error, n, method)


def _always_valid_p_value(value: float, error: float, n: int, rho: float) -> float:
    """One over the normal mixture's likelihood ratio, at most 1."""
    if error == 0:
        return 1.0 if value == 0 else 0.0
    spread = n * rho * rho + 1
    logarithm = (value / error) ** 2 * n * rho * rho / (2 * spread) - 0.5 * math.log(spread)
    return math.exp(-max(0.0, logarithm))


def msprt_ratio(value: float, variance: float, n: float, mixing_variance: float, *, under_null: float = 0.0) -> float:
    """Likelihood ratio of the mixture sequential probability ratio test for normal data (Johari et al. 2022).

    Args:
        value: mean (difference) seen so far.
        variance: variance of one observation (of one pair's difference).
        n: observations (pairs) so far.
        mixing_variance: variance of the effects one expects.
        under_null: the effect under the null.
    """
    below = variance + n * mixing_variance
    exponent = n * n * mixing_variance * (value - under_null) ** 2 / (2 * variance * below)
    return math.sqrt(variance / below) * math.exp(min(exponent, 700.0))


def msprt_p_value(ratios: list[float]) -> float:
    """Always-valid p-value after the looks so far: one over the largest ratio seen, at most 1."""
    return min(1.0, 1.0 / max(ratios)) if ratios else 1.0


def normal_mixture_rho(best_at: float, alpha: float, *, is_two_sided: bool = True) -> float:
    """Mixture parameter whose bound is tightest at the variance `best_at` (Howard et al. 2021)."""
    twice = 2 * math.log(1 / (alpha if is_two_sided else 2 * alpha))
    return best_at / (twice + math.log(1 + twice))


def normal_mixture_bound(variance: float, rho: float, alpha: float, *, is_two_sided: bool = True) -> float:
    """Bound that a sum with the intrinsic time `variance` ever crosses with chance alpha at most (Howard et al.)."""
    if is_two_sided:
        return math.sqrt((variance + rho) * (math.log((variance + rho) / rho) + 2 * math.log(1 / alpha)))

    def excess(bound: float) -> float:
        tail = stats.norm.logcdf(bound / math.sqrt(variance + rho))
        level = 0.5 * math.log(4 * rho / (variance + rho)) + bound**2 / (2 * (variance + rho)) + tail
        return float(level - math.log(1 / alpha))

    upper = 2 * normal_mixture_bound(variance, rho, alpha) + 1
    return float(optimize.brentq(excess, 0.0, upper, xtol=1e-12))


def crossing_chance(boundaries: tuple[float, ...]) -> np.ndarray:
    """Chance, without any effect, that |z| has crossed its boundary by each of equally spaced looks; shape (looks,).

    Method: the density of the score among the runs not yet stopped is carried from look to look by numerical
    integration (Armitage, McPherson and Rowe 1969).
    """
    # Beyond eight deviations there is nothing to integrate, and the grid would only get coarse.
    boundaries = tuple(min(boundary, 8.0) for boundary in boundaries)
    crossed = np.empty(len(boundaries))
    crossed[0] = 2 * stats.norm.sf(boundaries[0])
    # The score after look k is a sum of k standard normals; it goes on while |score| < boundary * sqrt(k).
    nodes, weights = np.polynomial.legendre.leggauss(GRID_POINTS)
    reach = boundaries[0]
    points, density = nodes * reach, stats.norm.pdf(nodes * reach)
    for look in range(1, len(boundaries)):
        limit = boundaries[look] * math.sqrt(look + 1)
        mass = density * weights * reach
        outside = stats.norm.sf(limit - points) + stats.norm.sf(limit + points)
        crossed[look] = crossed[look - 1] + float(mass @ outside)
        next_points = nodes * limit
        density = np.exp(-0.5 * (next_points[:, None] - points[None, :]) ** 2) @ mass / math.sqrt(2 * math.pi)
        points, reach = next_points, limit
    return crossed


Shape = Literal["pocock", "obrien-fleming"]


@lru_cache(maxsize=64)
def group_sequential_boundaries(
    looks: int, *, alpha: float = 0.05, shape: Shape = "obrien-fleming"
) -> tuple[float, ...]:
    """Values of |z| at which to stop at each of equally spaced looks, so that the whole keeps its level.

    Pocock uses one value; O'Brien and Fleming start high and end near the fixed one: c * sqrt(looks / look).
    """
    if looks < 1:
        raise ExperimentError("A group sequential design needs at least one look.")
    powers = np.sqrt(looks / np.arange(1, looks + 1)) if shape == "obrien-fleming" else np.ones(looks)

    def excess(constant: float) -> float:
        return float(crossing_chance(tuple(constant * powers))[-1] - alpha)

    constant = optimize.brentq(excess, 0.5, 8.0, xtol=1e-6)
    return tuple((constant * powers).tolist())


def compare_at_look(
    control: Statistic,
    treatment: Statistic,
    *,
    look: int,
    looks: int,
    alpha: float = 0.05,
    shape: Shape = "obrien-fleming",
    scale: Scale = "absolute",
) -> Effect:
    """Difference at one of a number of equally spaced looks, with a repeated interval and p-value.

    The interval is the difference plus and minus the boundary's value times the standard error; all intervals of the
    looks hold together with chance 1 - alpha. The p-value is the smallest alpha whose boundary is crossed at this look.

    Raises:
        ExperimentError: the look is not one of the planned ones.
    """
    value, error = difference(control, treatment, scale)
    n = control.n + treatment.n
    return effect_at_look(value, error, n, look=look, looks=looks, alpha=alpha, shape=shape, scale=scale)


def effect_at_look(
    value: float,
    error: float,
    n: int,
    *,
    look: int,
    looks: int,
    alpha: float = 0.05,
    shape: Shape = "obrien-fleming",
    scale: Scale = "absolute",
) -> Effect:
    """Repeated interval and p-value of any estimate with a standard error at one of the planned looks.

    Raises:
        ExperimentError: the look is not one of the planned ones.
    """
    if not 1 <= look <= looks:
        raise ExperimentError(f"Look {look} was not planned: there are {looks}.")
    boundary = group_sequential_boundaries(looks, alpha=alpha, shape=shape)[look - 1]
    method = f"group sequential ({shape}), look {look} of {looks}, {scale}"
    if error == 0:
        return Effect(value, value, value, 1.0 if value == 0 else 0.0, 0.0, n, method)
    powers = np.sqrt(looks / np.arange(1, looks + 1)) if shape == "obrien-fleming" else np.ones(looks)
    reached = abs(value) / error
    p_value = float(crossing_chance(tuple(reached / powers[look - 1] * powers))[-1]) if reached > 0 else 1.0
    half = boundary * error
    return Effect(value, value - half, value + half, min(1.0, p_value), error, n, method)
