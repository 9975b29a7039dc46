"""Gamma-Gamma model of money a purchase (Fader and Hardie 2013).

A customer's purchases are Gamma(p, nu) with nu from Gamma(q, v) among customers, independent of how often they buy.
For a mean of z over x purchases

    ln L = ln G(px+q) - ln G(px) - ln G(q) + q ln v + (px-1) ln z + px ln x - (px+q) ln(v+xz)
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import digamma, gammaln

from ml.value.errors import ValueModelError
from ml.value.likelihood import Curve, maximise, trigamma

PARAMETERS = ("p", "q", "v")
_STARTS = ((2.0, 2.0, 1.0), (6.0, 4.0, 3.0), (1.0, 1.5, 0.5), (50.0, 3.0, 2.0))


class GammaGamma:
    """Money a purchase of a customer, drawn towards everybody's mean the less is known of the customer.

    Args:
        prior_strength: precision of a weak prior that keeps parameters from running away, in customers; 0: none.

    Learned names:
        parameters_: p, q, v.
        standard_errors_: their standard errors.
        log_likelihood_: at the parameters.
        is_converged_: whether the likelihood has its maximum there.
        customers_: number of customers with repeat purchases fitted on.
    """

    kind = "gamma_gamma"

    def __init__(self, *, prior_strength: float = 0.0) -> None:
        self.prior_strength = prior_strength
        self.parameters_: dict[str, float] = {}
        self.standard_errors_: dict[str, float] = {}
        self.covariance_ = np.empty((0, 0))
        self.log_likelihood_ = np.nan
        self.is_converged_ = False
        self.customers_ = 0

    def fit(self, x: ArrayLike, z: ArrayLike) -> "GammaGamma":
        """Learn from customers with repeat purchases; those with x = 0 are passed over.

        Args:
            x: number of repeat purchases, shape (customers,).
            z: their mean amount, above 0 where x is; not looked at elsewhere.
        """
        counts, means = self._known(x, z)
        if counts.size == 0:
            raise ValueModelError(
                "Give at least one customer with a repeat purchase: there is no amount to learn from."
            )
        unit = float(np.median(means))
        found = maximise(_curve(counts, means / unit), _STARTS, weight=counts.size, prior_strength=self.prior_strength)
        factor = np.array([1.0, 1.0, unit])
        self._set(found.parameters * factor, found.covariance * np.outer(factor, factor))
        # The density of z changes with its unit.
        self.log_likelihood_ = found.log_likelihood - counts.size * np.log(unit)
        self.is_converged_ = found.is_reached
        self.customers_ = int(counts.size)
        return self

    @property
    def mean_(self) -> float:
        """Expected money a purchase of a customer of whom nothing is known; infinite when q is at most 1."""
        p, q, v = (self.parameters_[name] for name in PARAMETERS)
        return p * v / (q - 1) if q > 1 else np.inf

    def expected_spend(self, x: ArrayLike, z: ArrayLike) -> np.ndarray:
        """Expected money a purchase given x purchases with mean z; everybody's mean where x is 0.

        Raises:
            ValueModelError: before `fit`, or when an x above 0 comes without an amount.
        """
        if not self.parameters_:
            raise ValueModelError("Call fit first: nothing was learned yet.")
        p, q, v = (self.parameters_[name] for name in PARAMETERS)
        counts = np.atleast_1d(np.asarray(x, dtype=float))
        means = np.broadcast_to(np.asarray(z, dtype=float), counts.shape)
        self._known(counts, means)
        total = np.where(counts > 0, counts * np.where(counts > 0, means, 0.0), 0.0)
        with np.errstate(divide="ignore"):
            return np.asarray(np.where(p * counts + q > 1, p * (v + total) / (p * counts + q - 1), self.mean_))

    def to_state(self) -> dict[str, Any]:
        """Everything learned, as arrays and JSON values."""
        return {
            "kind": self.kind,
            "prior_strength": self.prior_strength,
            "parameters": np.array([self.parameters_[name] for name in PARAMETERS]),
            "covariance": self.covariance_,
            "log_likelihood": float(self.log_likelihood_),
            "is_converged": self.is_converged_,
            "customers": self.customers_,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "GammaGamma":
        """Rebuild from `to_state`."""
        model = cls(prior_strength=float(state["prior_strength"]))
        model._set(np.asarray(state["parameters"], dtype=float), np.asarray(state["covariance"], dtype=float))
        model.log_likelihood_ = float(state["log_likelihood"])
        model.is_converged_ = bool(state["is_converged"])
        model.customers_ = int(state["customers"])
        return model

    def _set(self, values: np.ndarray, covariance: np.ndarray) -> None:
        self.parameters_ = {name: float(value) for name, value in zip(PARAMETERS, values, strict=True)}
        self.covariance_ = covariance
        errors = np.sqrt(np.diag(covariance))
        self.standard_errors_ = {name: float(error) for name, error in zip(PARAMETERS, errors, strict=True)}

    @staticmethod
    def _known(x: ArrayLike, z: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        counts = np.atleast_1d(np.asarray(x, dtype=float))
        means = np.broadcast_to(np.asarray(z, dtype=float), counts.shape)
        repeaters = counts > 0
        if np.isnan(counts).any() or not (means[repeaters] > 0).all() or not np.isfinite(means[repeaters]).all():
            raise ValueModelError("Give a mean amount above 0 for every customer with repeat purchases.")
        return counts[repeaters], means[repeaters]


def _curve(x: np.ndarray, z: np.ndarray) -> Callable[[np.ndarray], Curve]:
    counts, by_count = np.unique(x, return_counts=True)
    by_count = by_count.astype(float)
    total = float(x.size)
    spent = x * z
    log_spent = np.log(spent)
    sum_log_z = float(np.log(z).sum())
    x_log_spent = float(x @ log_spent)

    def curve(parameters: np.ndarray) -> Curve:
        p, q, v = parameters
        log_whole = np.log(v + spent)
        per_whole = 1.0 / (v + spent)
        shape = p * counts + q
        sum_log_whole, x_log_whole = float(log_whole.sum()), float(x @ log_whole)
        sum_per, x_per = float(per_whole.sum()), float(x @ per_whole)
        squares = per_whole**2
        value = (
            by_count @ (gammaln(shape) - gammaln(p * counts))
            - total * gammaln(q)
            + total * q * np.log(v)
            + p * x_log_spent
            - sum_log_z
            - p * x_log_whole
            - q * sum_log_whole
        )
        first = by_count * digamma(shape)
        gradient = np.array(
            [
                counts @ (first - by_count * digamma(p * counts)) + x_log_spent - x_log_whole,
                first.sum() - total * digamma(q) + total * np.log(v) - sum_log_whole,
                total * q / v - p * x_per - q * sum_per,
            ]
        )
        second = by_count * trigamma(shape)
        pq = counts @ second
        hessian = np.array(
            [
                [counts**2 @ (second - by_count * trigamma(p * counts)), pq, -x_per],
                [pq, second.sum() - total * trigamma(q), total / v - sum_per],
                [-x_per, total / v - sum_per, -total * q / v**2 + p * float(x @ squares) + q * float(squares.sum())],
            ]
        )
        return float(value), gradient, hessian

    return curve
