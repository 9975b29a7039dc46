"""Maximum likelihood for positive parameters, by Newton's method in a trust region with exact second derivatives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import zeta

# A log-likelihood with its gradient (parameters,) and Hessian (parameters, parameters).
Curve = tuple[float, np.ndarray, np.ndarray]
# Logarithms of parameters beyond this are "infinite": the data do not tell the parameter.
_FAR = 12.0
# A slope of this length, a customer, is the bottom.
_FLAT = 1e-7
# Values that are nearer to each other than this share are the same but for rounding.
_ROUNDING = 1e-10
_LARGEST_RADIUS = 8.0
_SMALLEST_RADIUS = 1e-10
_MOST_STEPS = 200


@dataclass(frozen=True)
class Maximum:
    """Where the likelihood is largest.

    Attributes:
        parameters: shape (parameters,), all positive.
        log_likelihood: at that point, without the prior.
        covariance: inverse of the observed information, shape (parameters, parameters); NaN where it has none.
        is_reached: whether the gradient vanishes there and the likelihood bends down in every direction.
        steps: number of evaluations.
    """

    parameters: np.ndarray
    log_likelihood: float
    covariance: np.ndarray
    is_reached: bool
    steps: int


def maximise(
    curve: Callable[[np.ndarray], Curve],
    starts: Sequence[Sequence[float]],
    *,
    weight: float,
    prior_strength: float = 0.0,
) -> Maximum:
    """Find the parameters with the largest log-likelihood.

    The search runs over logarithms, which keeps parameters positive.

    Args:
        curve: log-likelihood, gradient and Hessian at positive parameters.
        starts: points to start from; the next is tried only when the one before led nowhere.
        weight: number of customers, by which the likelihood is divided so that the stopping rule means the same for
            ten customers and ten million.
        prior_strength: precision of a normal prior for the logarithms around the first start, in customers; 0: none.
    """
    centre = np.log(np.asarray(starts[0], dtype=float))
    steps = 0

    def penalised(logarithms: np.ndarray) -> tuple[Curve, Curve]:
        """What was asked for at a point, and the same as the search sees it."""
        nonlocal steps
        steps += 1
        parameters = np.exp(np.clip(logarithms, -_FAR * 3, _FAR * 3))
        value, gradient, hessian = curve(parameters)
        # Chain rule from parameters to their logarithms.
        bent = hessian * np.outer(parameters, parameters)
        diagonal = np.diag_indices(len(parameters))
        bent[diagonal] += gradient * parameters - prior_strength
        away = logarithms - centre
        return (value, gradient, hessian), (
            -(value - 0.5 * prior_strength * away @ away) / weight,
            -(gradient * parameters - prior_strength * away) / weight,
            -bent / weight,
        )

    best: tuple[float, bool, np.ndarray, Curve] | None = None
    for start in starts:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            point, plain, (value, gradient, hessian) = _descend(penalised, np.log(np.asarray(start, dtype=float)))
        bends = bool(np.isfinite(hessian).all() and np.linalg.eigvalsh(hessian).min() > 1e-9)
        reached = bool(bends and np.abs(gradient).max() < 1e-6 and np.abs(point).max() < _FAR and np.isfinite(value))
        if best is None or (reached, -value) > (best[1], -best[0]):
            best = (value, reached, point, plain)
        if reached:
            break
    assert best is not None
    _, reached, point, (value, _, hessian) = best
    parameters = np.exp(np.clip(point, -_FAR * 3, _FAR * 3))
    information = -hessian + prior_strength * np.diag(parameters**-2.0)
    return Maximum(parameters, float(value), _inverse(information), reached, steps)


def trigamma(values: ArrayLike) -> np.ndarray:
    """Second derivative of ln Gamma, as a Hurwitz zeta function (SciPy's polygamma takes a detour)."""
    return np.asarray(zeta(2.0, values))


def _descend(
    evaluate: Callable[[np.ndarray], tuple[Curve, Curve]], point: np.ndarray
) -> tuple[np.ndarray, Curve, Curve]:
    """Newton's method in a trust region (Nocedal and Wright 2006, algorithm 4.1) from a point to the next minimum.

    SciPy's own asks for value, slope and curvature apart and takes as long for its book-keeping as a small world takes
    for its likelihood.
    """
    plain, (value, slope, bend) = evaluate(point)
    radius = 1.0
    for _ in range(_MOST_STEPS):
        if not np.isfinite(bend).all() or not np.isfinite(slope).all() or np.sqrt(slope @ slope) < _FLAT:
            break
        step = _step(slope, bend, radius)
        expected = -float(slope @ step + 0.5 * step @ bend @ step)
        there_plain, there = evaluate(point + step)
        gained = value - there[0]
        if expected < _ROUNDING * max(1.0, abs(value)):
            # Values no longer tell the two points apart, slopes do.
            is_better = bool(there[1] @ there[1] < slope @ slope)
            if not is_better:
                break
        else:
            is_better = gained > 1e-4 * expected
            if not gained >= 0.25 * expected:
                radius = 0.25 * min(radius, float(np.sqrt(step @ step)))
            elif gained > 0.75 * expected and np.sqrt(step @ step) > 0.99 * radius:
                radius = min(2.0 * radius, _LARGEST_RADIUS)
        if is_better:
            point, plain, (value, slope, bend) = point + step, there_plain, there
        elif radius < _SMALLEST_RADIUS:
            break
    return point, plain, (value, slope, bend)


def _step(slope: np.ndarray, bend: np.ndarray, radius: float) -> np.ndarray:
    """The point of the ball around here where the parabola is lowest (same source, section 4.3)."""
    bends, directions = np.linalg.eigh(bend)
    along = directions.T @ slope
    lowest = float(bends[0])
    if lowest > 0:
        whole = -along / bends
        if whole @ whole <= radius**2:
            return np.asarray(directions @ whole)
    # -along / (bends + push) gets shorter with the push: find the one with which it ends on the ball.
    push = max(0.0, -lowest) + 1e-12 + 1e-3 * abs(lowest)
    low = max(0.0, -lowest)
    for _ in range(50):
        part = along / (bends + push)
        length = float(np.sqrt(part @ part))
        if abs(length - radius) <= 1e-3 * radius:
            break
        if length > radius:
            low = push
        # Newton's method for 1 / length, which is nearly a straight line in the push.
        fall = float((part**2) @ (1.0 / (bends + push)))
        push = max(push + (length / radius - 1.0) * length**2 / fall, 0.5 * (low + push))
    return np.asarray(-(directions @ part))


def _inverse(information: np.ndarray) -> np.ndarray:
    """Inverse of a positive definite matrix whose entries may differ by many orders of magnitude; NaN if it is none."""
    nothing = np.full_like(information, np.nan)
    diagonal = np.diag(information)
    if not np.isfinite(information).all() or (diagonal <= 0).any():
        return nothing
    size = np.sqrt(diagonal)
    try:
        lower = np.linalg.cholesky(information / np.outer(size, size))
    except np.linalg.LinAlgError:
        return nothing
    half = np.linalg.solve(lower, np.diag(1.0 / size))
    return np.asarray(half.T @ half)
