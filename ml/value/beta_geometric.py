"""BG/NBD (Fader, Hardie and Lee 2005) and MBG/NBD (Batislam, Denizel and Filiztekin 2007).

Purchases of a customer are a Poisson process with a rate from Gamma(r, alpha); the chance to stop at an occasion
comes from Beta(a, b). In the BG/NBD a customer may stop after each repeat purchase, in the MBG/NBD also right after
the first purchase.
With n the occasions that a customer has survived for sure (x, or x + 1), both have the same likelihood:

    ln L = ln G(r+x)/G(r) + r ln alpha + ln B(a, b+n)/B(a, b) - (r+x) ln(alpha+T) + ln(1 + exp D)
    D    = ln a - ln(b+n-1) + (r+x) ln((alpha+T) / (alpha+t_x)),   where n >= 1, else exp D = 0

exp D are the odds against being alive.
"""

from collections.abc import Callable
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import digamma, expit, gammaln, hyp2f1

from ml.value.likelihood import Curve, trigamma
from ml.value.models import PurchaseModel, checked_ages, draws_from
from ml.value.purchases import PurchaseGroups, distinct

# Formulas divide by a - 1 (and for newcomers by a + b - 1): this near to the gap, both sides of it are averaged.
_NEAR_GAP = 1e-5
# Groups are worked on in portions that fit into the processor's cache.
_PORTION = 8_192


class BetaGeometric(PurchaseModel):
    """BG/NBD: who bought once is alive for certain; fits where first purchases commit nobody to a second."""

    kind = "bg_nbd"
    parameter_names = ("r", "alpha", "a", "b")
    _times = (False, True, False, False)
    _starts = ((0.5, 0.5, 1.0, 2.0), (1.0, 1.0, 1.0, 1.0), (0.2, 0.1, 0.5, 5.0), (2.0, 2.0, 0.3, 1.0))
    # Occasions to stop before the first repeat purchase.
    _first_occasions: ClassVar[int] = 0

    def expected_purchases_of_new_customer(self, horizon: float) -> float:
        """Repeat purchases to expect of a customer within `horizon` after the first purchase."""
        _, _, a, b = self._values()
        expected = float(self._expected_if_alive(horizon, np.zeros(1), np.zeros(1))[0])
        return expected * (b / (a + b)) if self._first_occasions else expected

    def simulate(self, T: ArrayLike, *, random_state: int | np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw histories (x, t_x) of customers of ages T."""
        generator = draws_from(random_state)
        r, alpha, a, b = self._values()
        age = np.asarray(T, dtype=float)
        rate = generator.gamma(r, 1.0 / alpha, age.shape)
        lasts = self._occasions(generator, generator.beta(a, b, age.shape)) - self._first_occasions
        wanted = generator.poisson(rate * age)
        x = np.minimum(wanted, lasts)
        # Of `wanted` purchases spread evenly over T the x-th falls at a beta-distributed place.
        place = generator.beta(np.maximum(x, 1), np.maximum(wanted + 1 - x, 1))
        return x.astype(float), np.where(x > 0, place * age, 0.0)

    def simulate_future(
        self, horizon: float, x: ArrayLike, t_x: ArrayLike, T: ArrayLike, *, random_state: int | np.random.Generator
    ) -> np.ndarray:
        """Draw the numbers of purchases within `horizon` after T, shape (customers,)."""
        generator = draws_from(random_state)
        r, alpha, a, b = self._values()
        counts, recency, age = checked_ages(x, t_x, T)
        alive = generator.random(counts.shape) < self._p_alive(counts, recency, age)
        rate = generator.gamma(r + counts, 1.0 / (alpha + age))
        lasts = self._occasions(generator, generator.beta(a, b + counts + self._first_occasions))
        return np.where(alive, np.minimum(generator.poisson(rate * horizon), lasts), 0).astype(float)

    @staticmethod
    def _occasions(generator: np.random.Generator, chance: np.ndarray) -> np.ndarray:
        """Number of the occasion at which a customer stops; 1 means the first."""
        return np.asarray(generator.geometric(np.maximum(chance, 1e-12)))

    def _p_alive(self, x: np.ndarray, t_x: np.ndarray, T: np.ndarray) -> np.ndarray:
        r, alpha, a, b = self._values()
        survived = x + self._first_occasions
        with np.errstate(divide="ignore", invalid="ignore"):
            against = np.log(a) - np.log(b + survived - 1) + (r + x) * (np.log(alpha + T) - np.log(alpha + t_x))
        return np.where(survived >= 1, expit(-against), 1.0)

    def _expected_if_alive(self, horizon: float, x: np.ndarray, T: np.ndarray) -> np.ndarray:
        _, _, a, b = self._values()
        if abs(a - 1) < _NEAR_GAP or (abs(a + b - 1) < _NEAR_GAP and not self._first_occasions):
            return np.asarray(
                (
                    self._closed_form(horizon, x, T, a - 2 * _NEAR_GAP, b)
                    + self._closed_form(horizon, x, T, a + 2 * _NEAR_GAP, b)
                )
                / 2
            )
        return self._closed_form(horizon, x, T, a, b)

    def _closed_form(self, horizon: float, x: np.ndarray, T: np.ndarray, a: float, b: float) -> np.ndarray:
        """(a+b+n-1)/(a-1) [1 - (1-z)^(r+x) 2F1(r+x, b+n; a+b+n-1; z)] with z = horizon / (alpha+T+horizon).

        Euler's transformation turns the product into (1-z)^(a-1) 2F1(a-1, a+b+n-1-r-x; a+b+n-1; z): its first and
        second arguments do not grow with the number of purchases, so that nothing overflows.
        """
        r, alpha = self.parameters_["r"], self.parameters_["alpha"]
        survived = x + self._first_occasions
        whole = a + b + survived - 1
        share = horizon / (alpha + T + horizon)
        with np.errstate(over="ignore", invalid="ignore"):
            kept = (1 - share) ** (a - 1) * hyp2f1(a - 1, whole - r - x, whole, share)
        if not np.isfinite(kept).all():
            # Parameters that ran away (a and b in the thousands) overflow here, and not as it stood before.
            kept = np.where(np.isfinite(kept), kept, (1 - share) ** (r + x) * hyp2f1(r + x, b + survived, whole, share))
        return np.asarray(whole / (a - 1) * (1 - kept))

    def _curve(self, groups: PurchaseGroups) -> Callable[[np.ndarray], Curve]:
        x, customers = groups.x, groups.customers
        total = groups.total
        counts, of_count = distinct(x)
        by_count = np.bincount(of_count, customers)
        occasions = counts + self._first_occasions
        ages, of_age = distinct(groups.T)
        by_age = np.bincount(of_age, customers)
        purchases_by_age = np.bincount(of_age, customers * x)
        ages = ages / groups.unit
        open_ended = slice(None) if self._first_occasions else np.flatnonzero(x >= 1)
        recencies, of_recency = distinct(groups.t_x[open_ended])
        recencies = recencies / groups.unit
        index = (of_age[open_ended], of_recency, of_count[open_ended])
        weight, x_open = customers[open_ended], x[open_ended]

        def curve(parameters: np.ndarray) -> Curve:
            r, alpha, a, b = parameters
            log_age, per_age = np.log(alpha + ages), 1.0 / (alpha + ages)
            log_recency, per_recency = np.log(alpha + recencies), 1.0 / (alpha + recencies)
            survived = np.maximum(b + occasions - 1, np.finfo(float).tiny)
            log_odds, inverse_survived = np.log(a) - np.log(survived), 1.0 / survived
            softplus = 0.0
            # Sums over customers of the chance to have stopped and of its variance, times products of the slopes of
            # the odds by r, alpha, a and b, and times the curvatures of the odds.
            slopes, squares = np.zeros(4), np.zeros((4, 4))
            by_rate, by_alpha, by_b = 0.0, 0.0, 0.0
            for start in range(0, len(weight), _PORTION):
                part = slice(start, start + _PORTION)
                of_age_part, of_recency_part, of_count_part = (numbers[part] for numbers in index)
                there, before = per_age[of_age_part], per_recency[of_recency_part]
                shape = r + x_open[part]
                gap = np.empty((4, len(shape)))
                np.subtract(log_age[of_age_part], log_recency[of_recency_part], out=gap[0])
                rate_gap = there - before
                np.multiply(shape, rate_gap, out=gap[1])
                gap[2] = 1.0 / a
                np.negative(inverse_survived[of_count_part], out=gap[3])
                odds = shape * gap[0]
                odds += log_odds[of_count_part]
                # ln(1 + exp(odds)) and its slope, written so that nothing overflows.
                small = np.exp(-np.abs(odds))
                one_more = 1.0 + small
                many = weight[part]
                softplus += float(many @ np.maximum(odds, 0.0) + many @ np.log(one_more))
                first = many / one_more
                second = first * small
                second /= one_more
                first = np.where(odds > 0, first, first * small)
                slopes += gap @ first
                squares += (gap * second) @ gap.T
                by_rate += float(first @ rate_gap)
                by_alpha -= float((first * gap[1]) @ (there + before))
                by_b += float(first @ gap[3] ** 2)

            whole = a + b + occasions
            value = (
                by_count
                @ (
                    gammaln(r + counts)
                    - gammaln(r)
                    + gammaln(a + b)
                    - gammaln(whole)
                    + gammaln(b + occasions)
                    - gammaln(b)
                )
                + total * r * np.log(alpha)
                - (r * by_age + purchases_by_age) @ log_age
                + softplus
            )
            shared = by_count @ (digamma(a + b) - digamma(whole))
            gradient = slopes + np.array(
                [
                    by_count @ (digamma(r + counts) - digamma(r)) + total * np.log(alpha) - by_age @ log_age,
                    total * r / alpha - (r * by_age + purchases_by_age) @ per_age,
                    shared,
                    shared + by_count @ (digamma(b + occasions) - digamma(b)),
                ]
            )
            shared = by_count @ (trigamma(a + b) - trigamma(whole))
            hessian = squares
            hessian[0, 0] += by_count @ (trigamma(r + counts) - trigamma(r))
            across = total / alpha - by_age @ per_age + by_rate
            hessian[0, 1] += across
            hessian[1, 0] += across
            hessian[1, 1] += -total * r / alpha**2 + (r * by_age + purchases_by_age) @ per_age**2 + by_alpha
            hessian[2:, 2:] += shared
            hessian[2, 2] -= slopes[2] / a
            hessian[3, 3] += by_count @ (trigamma(b + occasions) - trigamma(b)) + by_b
            return float(value), gradient, hessian

        return curve


class ModifiedBetaGeometric(BetaGeometric):
    """MBG/NBD: a customer may stop right after the first purchase, so that one-time buyers are not alive for ever."""

    kind = "mbg_nbd"
    _first_occasions = 1
