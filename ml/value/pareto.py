"""Pareto/NBD (Schmittlein, Morrison and Colombo 1987).

Purchases are a Poisson process with a rate from Gamma(r, alpha); the time to stopping is exponential with a rate from
Gamma(s, beta). With tau the moment of stopping, the likelihood of (x, t_x, T) is

    G(r+x)/G(r) alpha^r beta^s [ (alpha+T)^-(r+x) (beta+T)^-s + s * integral over tau from t_x to T of
                                  (alpha+tau)^-(r+x) (beta+tau)^-(s+1) ]

The literature writes the integral as a difference of two hypergeometric functions, which overflow for heavy buyers and
cancel where t_x is near T. Here it is summed by Gauss-Legendre quadrature over w = ((m+t_x)/(m+tau))^k with m the
smaller of alpha and beta and k a fifth of the integrand's rate of decay at t_x, so that the integrand varies slowly
however many the purchases (relative error below 1e-10 for alpha, beta from .02 to 50, x to 200 and T to 150). All terms
are positive and are added as logarithms. The bracket is then a mixture over tau, so that gradient and Hessian are means
and covariances under its weights.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import digamma, gammaln

from ml.value.likelihood import Curve, trigamma
from ml.value.models import PurchaseModel, checked_ages, draws_from
from ml.value.purchases import PurchaseGroups, distinct

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
# Groups are worked on in portions that fit into the processor's cache, and whose products stay below the 10,000 numbers
# from which on BLAS wakes its threads: on a busy machine they wait for each other twenty times as long as they work.
_PORTION = 470
_NEAR_GAP = 1e-7
# The part of the integrand's rate of decay that the substitution takes away; measured to need the fewest nodes.
_DECAY_SHARE = 0.2


class ParetoNBD(PurchaseModel):
    """Pareto/NBD: customers may stop at any moment, not only when they buy."""

    kind = "pareto_nbd"
    parameter_names = ("r", "alpha", "s", "beta")
    _times = (False, True, False, True)
    _starts = ((0.7, 0.7, 0.7, 0.7), (1.0, 1.0, 1.0, 1.0), (0.5, 0.2, 0.3, 0.2), (2.0, 2.0, 1.0, 3.0))

    def expected_purchases_of_new_customer(self, horizon: float) -> float:
        """Repeat purchases to expect of a customer within `horizon` after the first purchase."""
        return float(self._expected_if_alive(horizon, np.zeros(1), np.zeros(1))[0])

    def simulate(self, T: ArrayLike, *, random_state: int | np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw histories (x, t_x) of customers of ages T."""
        generator = draws_from(random_state)
        r, alpha, s, beta = self._values()
        age = np.asarray(T, dtype=float)
        rate = generator.gamma(r, 1.0 / alpha, age.shape)
        active = np.minimum(age, self._lifetime(generator, generator.gamma(s, 1.0 / beta, age.shape)))
        x = generator.poisson(rate * active)
        # The last of x purchases spread evenly over the active time.
        place = generator.beta(np.maximum(x, 1), 1.0)
        return x.astype(float), np.where(x > 0, place * active, 0.0)

    def simulate_future(
        self, horizon: float, x: ArrayLike, t_x: ArrayLike, T: ArrayLike, *, random_state: int | np.random.Generator
    ) -> np.ndarray:
        """Draw the numbers of purchases within `horizon` after T, shape (customers,)."""
        generator = draws_from(random_state)
        r, alpha, s, beta = self._values()
        counts, recency, age = checked_ages(x, t_x, T)
        alive = generator.random(counts.shape) < self._p_alive(counts, recency, age)
        rate = generator.gamma(r + counts, 1.0 / (alpha + age))
        lifetime = self._lifetime(generator, generator.gamma(s, 1.0, age.shape) / (beta + age))
        return np.where(alive, generator.poisson(rate * np.minimum(lifetime, horizon)), 0).astype(float)

    @staticmethod
    def _lifetime(generator: np.random.Generator, rate: np.ndarray) -> np.ndarray:
        return np.asarray(generator.exponential(1.0, rate.shape) / np.maximum(rate, 1e-300))

    def _p_alive(self, x: np.ndarray, t_x: np.ndarray, T: np.ndarray) -> np.ndarray:
        parameters = np.array(self._values())
        chance = np.empty(len(x))
        for start in range(0, len(x), _PORTION):
            part = slice(start, start + _PORTION)
            logarithms, _ = _mixture(parameters, x[part], t_x[part], T[part])
            logarithms -= logarithms.max(axis=1, keepdims=True)
            weights = np.exp(logarithms)
            chance[part] = weights[:, 0] / weights.sum(axis=1)
        return chance

    def _expected_if_alive(self, horizon: float, x: np.ndarray, T: np.ndarray) -> np.ndarray:
        r, alpha, s, beta = self._values()
        stretch = np.log1p(horizon / (beta + T))
        # (1 - ((beta+T)/(beta+T+horizon))^(s-1)) / (s-1), whose limit at s = 1 is the logarithm itself.
        damped = stretch if abs(s - 1) < _NEAR_GAP else -np.expm1(-(s - 1) * stretch) / (s - 1)
        return np.asarray((r + x) * (beta + T) / (alpha + T) * damped)

    def _curve(self, groups: PurchaseGroups) -> Callable[[np.ndarray], Curve]:
        counts, of_count = distinct(groups.x)
        by_count = np.bincount(of_count, groups.customers)
        total = groups.total
        recency, age = groups.t_x / groups.unit, groups.T / groups.unit

        def curve(parameters: np.ndarray) -> Curve:
            r, alpha, s, beta = parameters
            value = by_count @ (gammaln(r + counts) - gammaln(r)) + total * (r * np.log(alpha) + s * np.log(beta))
            gradient = np.array(
                [
                    by_count @ (digamma(r + counts) - digamma(r)) + total * np.log(alpha),
                    total * r / alpha,
                    total * np.log(beta),
                    total * s / beta,
                ]
            )
            hessian = np.zeros((4, 4))
            hessian[0, 0] = by_count @ (trigamma(r + counts) - trigamma(r))
            hessian[0, 1] = total / alpha
            hessian[1, 1] = -total * r / alpha**2
            hessian[2, 3] = total / beta
            hessian[3, 3] = -total * s / beta**2
            for start in range(0, len(groups.x), _PORTION):
                part = slice(start, start + _PORTION)
                more = _add_mixture(parameters, groups.x[part], recency[part], age[part], groups.customers[part])
                value += more[0]
                gradient += more[1]
                hessian += more[2]
            return float(value), gradient, np.triu(hessian) + np.triu(hessian, 1).T

        return curve


def _mixture(parameters: np.ndarray, x: np.ndarray, t_x: np.ndarray, T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the terms of the bracket and the moments tau they stand for; shape (groups, 1 + nodes).

    Term 0 is "alive at T", the others "stopped at tau".
    """
    r, alpha, s, beta = parameters
    shape = (r + x)[:, None]
    first, last = t_x[:, None], T[:, None]
    origin = min(alpha, beta)
    start = origin + first
    power = _DECAY_SHARE * (shape * start / (alpha + first) + s * start / (beta + first))
    # w runs from 1 (tau = t_x) down to 1 - span (tau = T).
    span = -np.expm1(-power * np.log((origin + last) / start))
    log_w = np.log1p(-span * (0.5 * (1.0 + _NODES)))
    log_distance = np.log(start) - log_w / power
    tau = np.hstack([last, np.clip(np.exp(log_distance) - origin, first, last)])
    logarithms = -shape * np.log(alpha + tau) - s * np.log(beta + tau)
    with np.errstate(divide="ignore"):
        # d tau = (origin + tau) / (power * w) d w, in logarithms; a span of 0 (t_x = T) has no weight.
        width = log_distance - log_w + np.log(0.5 * _WEIGHTS) + np.log(span / power)
    logarithms[:, 1:] += np.log(s) - np.log(beta + tau[:, 1:]) + width
    return logarithms, tau


def _add_mixture(
    parameters: np.ndarray, x: np.ndarray, t_x: np.ndarray, T: np.ndarray, customers: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Contribution of the bracket to log-likelihood, gradient and (upper triangle of the) Hessian."""
    r, alpha, s, beta = parameters
    logarithms, tau = _mixture(parameters, x, t_x, T)
    largest = logarithms.max(axis=1, keepdims=True)
    weights = np.exp(logarithms - largest)
    sums = weights.sum(axis=1)
    value = float(customers @ (largest[:, 0] + np.log(sums)))
    weights /= sums[:, None]
    stopped = np.ones(tau.shape[1])
    stopped[0] = 0.0
    shape = (r + x)[:, None]
    per_alpha, per_beta = 1.0 / (alpha + tau), 1.0 / (beta + tau)
    slopes = np.empty((4, *tau.shape))
    np.negative(np.log(alpha + tau), out=slopes[0])
    np.multiply(-shape, per_alpha, out=slopes[1])
    np.subtract(stopped / s, np.log(beta + tau), out=slopes[2])
    np.multiply(-(s + stopped), per_beta, out=slopes[3])
    weighted = slopes * weights
    means = weighted.sum(axis=2)
    gradient = means @ customers
    scaled = weighted * customers[:, None]
    hessian = np.empty((4, 4))
    for row in range(4):
        for column in range(row, 4):
            second = np.vdot(scaled[row], slopes[column])
            hessian[row, column] = second - (means[row] * means[column]) @ customers
    spread = weights * customers[:, None]
    hessian[0, 1] -= np.vdot(spread, per_alpha)
    hessian[1, 1] += np.vdot(spread * shape, per_alpha**2)
    hessian[2, 2] -= (spread @ stopped).sum() / s**2
    hessian[2, 3] -= np.vdot(spread, per_beta)
    hessian[3, 3] += np.vdot(spread * (s + stopped), per_beta**2)
    return value, gradient, np.triu(hessian)
