"""Maximum likelihood for positive parameters, by Newton's method in a trust region with exact second derivatives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

# A log-likelihood with its gradient (parameters,) and Hessian (parameters, parameters).
Curve = tuple[float, np.ndarray, np.ndarray]
# Logarithms of parameters beyond this are "infinite": the data do not tell the parameter.
_FAR = 12.0


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
    # The last two points with what was found there: the search asks for value, slope and curvature one after the other.
    memory: dict[bytes, tuple[Curve, Curve]] = {}

    def penalised(logarithms: np.ndarray) -> Curve:
        nonlocal steps
        key = logarithms.tobytes()
        if key not in memory:
            steps += 1
            parameters = np.exp(np.clip(logarithms, -_FAR * 3, _FAR * 3))
            value, gradient, hessian = curve(parameters)
            # Chain rule from parameters to their logarithms.
            bent = hessian * np.outer(parameters, parameters) + np.diag(gradient * parameters)
            away = logarithms - centre
            while len(memory) > 1:
                memory.pop(next(iter(memory)))
            scaled = (
                -(value - 0.5 * prior_strength * away @ away) / weight,
                -(gradient * parameters - prior_strength * away) / weight,
                -(bent - prior_strength * np.eye(len(parameters))) / weight,
            )
            memory[key] = ((value, gradient, hessian), scaled)
        return memory[key][1]

    best: tuple[float, np.ndarray, bool] | None = None
    for start in starts:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            found = minimize(
                lambda point: penalised(point)[0],
                np.log(np.asarray(start, dtype=float)),
                jac=lambda point: penalised(point)[1],
                hess=lambda point: penalised(point)[2],
                method="trust-exact",
                options={"gtol": 1e-7, "maxiter": 200, "initial_trust_radius": 1.0, "max_trust_radius": 8.0},
            )
            value, gradient, hessian = penalised(found.x)
        bends = bool(np.isfinite(hessian).all() and np.linalg.eigvalsh(hessian).min() > 1e-9)
        reached = bool(bends and np.abs(gradient).max() < 1e-6 and np.abs(found.x).max() < _FAR and np.isfinite(value))
        if best is None or (reached, -value) > (best[2], -best[0]):
            best = (value, found.x, reached)
        if reached:
            break
    assert best is not None
    parameters = np.exp(np.clip(best[1], -_FAR * 3, _FAR * 3))
    penalised(best[1])
    value, _, hessian = memory[best[1].tobytes()][0]
    information = -hessian + prior_strength * np.diag(parameters**-2.0)
    return Maximum(parameters, float(value), _inverse(information), best[2], steps)


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
