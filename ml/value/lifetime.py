"""Lifetime value for every user, whatever little is known: purchases to come times money a purchase."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits

from ml.value.beta_geometric import BetaGeometric, ModifiedBetaGeometric
from ml.value.errors import ValueModelError
from ml.value.models import PurchaseModel
from ml.value.pareto import ParetoNBD
from ml.value.spend import GammaGamma

PURCHASE_MODELS: Mapping[str, type[PurchaseModel]] = {
    model.kind: model for model in (BetaGeometric, ModifiedBetaGeometric, ParetoNBD)
}
# Below this many payers with a repeat purchase the likelihood alone is not trusted.
ENOUGH_REPEATERS = 50
# Weight of the assumption that fills in, in customers.
PRIOR_CUSTOMERS = 5.0
# Mean amounts further out than this many quartile distances (of their logarithms) are moved to the edge.
FENCE = 6.0
# Money to come is summed month by month when it is discounted.
_STEP_DAYS = 30.0
_DAYS_A_YEAR = 365.0


class LifetimeValueModel:
    """Purchases (buy-till-you-die) times money a purchase (Gamma-Gamma), with a plain answer where data are thin.

    Columns, one entry a user, times in days; NaN in T marks a user who never paid:
        x: days with a repeat purchase; t_x: age at the last of them (0 without); T: days since the first purchase;
        z: mean amount of a repeat purchase (anything where x is 0).

    Args:
        purchase_model: "mbg_nbd", "bg_nbd" or "pareto_nbd". The default lets a customer stop right after the first
            purchase: in the BG/NBD who paid once counts as alive for ever, which is of no use to who wants the lapsed
            back.
        yearly_discount: money a year from now is worth 1 / (1 + yearly_discount) of today's.

    Learned names:
        purchases_: the fitted purchase model, None when nobody paid.
        spend_: the fitted GammaGamma, None where too few repeat purchases carry an amount.
        messages_: sentences a person should read: what was too thin to learn, what was assumed in its place.
    """

    def __init__(self, *, purchase_model: str = "mbg_nbd", yearly_discount: float = 0.0) -> None:
        if purchase_model not in PURCHASE_MODELS:
            raise ValueModelError(f"Choose purchase_model from {', '.join(sorted(PURCHASE_MODELS))}.")
        if not 0 <= yearly_discount < np.inf:
            raise ValueModelError(f"Set yearly_discount to at least 0; it is {yearly_discount}.")
        self.purchase_model = purchase_model
        self.yearly_discount = float(yearly_discount)
        self.purchases_: PurchaseModel | None = None
        self.spend_: GammaGamma | None = None
        self.messages_: tuple[str, ...] = ()
        self._typical_amount = 0.0
        self._highest_amount = np.inf
        self._is_fitted = False

    def fit(
        self, x: ArrayLike, t_x: ArrayLike, T: ArrayLike, z: ArrayLike, *, mean_amount: ArrayLike | None = None
    ) -> "LifetimeValueModel":
        """Learn from all users.

        Args:
            x: see the class; so are t_x, T and z.
            mean_amount: mean of all payments of a user (the first included), used where there is no repeat purchase
                to learn amounts from.
        """
        counts, recency, age, amounts = _columns(x, t_x, T, z)
        payers = ~np.isnan(age)
        repeaters = payers & (counts > 0)
        self._messages: list[str] = []
        self.purchases_ = None
        if not payers.any():
            self._messages.append("Nobody paid yet: lifetime value is 0 for everybody until somebody does.")
        elif age[payers].max() <= 0:
            self._messages.append("All payers paid for the first time today: purchases to come are not known yet.")
        else:
            self.purchases_ = self._fit_purchases(counts[payers], recency[payers], age[payers], int(repeaters.sum()))
        firsts = None if mean_amount is None else np.asarray(mean_amount, dtype=float)[payers]
        # One thread: sums of several add up in changing order, and the same data must give the same money.
        with threadpool_limits(limits=1):
            self._fit_spend(counts[repeaters], amounts[repeaters], firsts)
        self.messages_ = tuple(self._messages)
        self._is_fitted = True
        return self

    def predict(
        self, x: ArrayLike, t_x: ArrayLike, T: ArrayLike, z: ArrayLike, *, horizon_days: float = 365.0
    ) -> pd.DataFrame:
        """What to expect of each user; a user's figures do not depend on the others.

        Returns:
            One row per user in the order given: p_alive (NaN for who never paid), expected_purchases within the
            horizon, expected_spend (money a purchase), lifetime_value (money within the horizon, discounted) and
            lifetime_value_if_alive (the same of a user who is known to be still there: what a return is worth).
        """
        if not self._is_fitted:
            raise ValueModelError("Call fit first: nothing was learned yet.")
        if not 0 < horizon_days < np.inf:
            raise ValueModelError(f"Set horizon_days above 0; it is {horizon_days}.")
        counts, recency, age, amounts = _columns(x, t_x, T, z)
        payers = ~np.isnan(age)
        p_alive = np.full(len(age), np.nan)
        if_alive, discounted = np.zeros(len(age)), np.zeros(len(age))
        if self.purchases_ is not None and payers.any():
            model = self.purchases_
            who = (counts[payers], recency[payers], age[payers])
            p_alive[payers] = model.p_alive(*who)
            if_alive[payers], discounted[payers] = self._purchases_to_come(model, who[0], who[2], horizon_days)
        spend = np.zeros(len(age))
        spend[payers] = self._expected_spend(counts[payers], amounts[payers])
        alive = np.nan_to_num(p_alive)
        return pd.DataFrame(
            {
                "p_alive": p_alive,
                "expected_purchases": alive * if_alive,
                "expected_spend": spend,
                "lifetime_value": alive * discounted * spend,
                "lifetime_value_if_alive": discounted * spend,
            }
        )

    def to_state(self) -> dict[str, Any]:
        """Everything learned, as arrays and JSON values."""
        if not self._is_fitted:
            raise ValueModelError("Call fit first: nothing was learned yet.")
        state: dict[str, Any] = {
            "settings": {"purchase_model": self.purchase_model, "yearly_discount": self.yearly_discount},
            "messages": list(self.messages_),
            "typical_amount": self._typical_amount,
            "highest_amount": None if np.isinf(self._highest_amount) else self._highest_amount,
        }
        if self.purchases_ is not None:
            state |= {f"purchases.{key}": value for key, value in self.purchases_.to_state().items()}
        if self.spend_ is not None:
            state |= {f"spend.{key}": value for key, value in self.spend_.to_state().items()}
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "LifetimeValueModel":
        """Rebuild from `to_state`."""
        model = cls(**state["settings"])
        model.messages_ = tuple(state["messages"])
        model._typical_amount = float(state["typical_amount"])
        model._highest_amount = np.inf if state["highest_amount"] is None else float(state["highest_amount"])
        parts: dict[str, dict[str, Any]] = {"purchases": {}, "spend": {}}
        for key, value in state.items():
            part, _, name = key.partition(".")
            if name:
                parts[part][name] = value
        if parts["purchases"]:
            model.purchases_ = PURCHASE_MODELS[parts["purchases"]["kind"]].from_state(parts["purchases"])
        if parts["spend"]:
            model.spend_ = GammaGamma.from_state(parts["spend"])
        model._is_fitted = True
        return model

    def _fit_purchases(self, x: np.ndarray, t_x: np.ndarray, T: np.ndarray, repeaters: int) -> PurchaseModel:
        kind = PURCHASE_MODELS[self.purchase_model]
        if repeaters >= ENOUGH_REPEATERS:
            model = kind().fit(x, t_x, T)
            if model.is_converged_:
                return model
            reason = "The purchases do not follow a pattern that tells all parameters"
        else:
            reason = f"Only {repeaters} of {len(x)} payers paid more than once"
        self._messages.append(f"{reason}: purchases to come lean on an assumption worth {PRIOR_CUSTOMERS:g} customers.")
        return kind(prior_strength=PRIOR_CUSTOMERS).fit(x, t_x, T)

    def _fit_spend(self, x: np.ndarray, z: np.ndarray, firsts: np.ndarray | None) -> None:
        # Refunds above payments leave amounts at or below 0: no price anybody paid.
        priced = np.isfinite(z) & (z > 0)
        if (~priced).any():
            self._messages.append(
                f"Users with repeat purchases but no amount above 0 (refunds above payments?): {int((~priced).sum())}; "
                "they count with the amount that is typical for all."
            )
        x, z = x[priced], z[priced]
        usable = z
        if not z.size and firsts is not None:
            usable = firsts[np.isfinite(firsts) & (firsts > 0)]
        self._highest_amount, self.spend_ = np.inf, None
        if not usable.size:
            self._typical_amount = 0.0
            if self.purchases_ is not None:
                self._messages.append("No payment carries an amount above 0: lifetime value is 0 for everybody.")
            return
        first, third = np.quantile(np.log(usable), [0.25, 0.75])
        # With hardly any spread the fence is at least a factor of ten away.
        self._highest_amount = float(np.exp(third + max(FENCE * (third - first), np.log(10.0))))
        capped = np.minimum(usable, self._highest_amount)
        if (usable > self._highest_amount).any():
            self._messages.append(
                f"Users who pay out of all proportion to the others: {int((usable > self._highest_amount).sum())}; "
                f"they count with {self._highest_amount:,.2f} a purchase."
            )
        self._typical_amount = float(capped.mean())
        if z.size < ENOUGH_REPEATERS:
            self._messages.append(
                f"Users with repeat purchases that carry an amount: only {z.size}; money a purchase is their own mean "
                "drawn towards that of all."
            )
            return
        spend = GammaGamma().fit(x, capped)
        if spend.is_converged_ and spend.parameters_["q"] > 1 and spend.mean_ < 3 * self._typical_amount:
            self.spend_ = spend
        else:
            self._messages.append(
                "Amounts do not follow a Gamma-Gamma pattern: money a purchase is a user's own mean drawn towards that "
                "of all."
            )

    def _expected_spend(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        known = (x > 0) & np.isfinite(z) & (z > 0)
        capped = np.where(known, np.minimum(np.nan_to_num(z), self._highest_amount), 1.0)
        if self.spend_ is not None:
            return self.spend_.expected_spend(np.where(known, x, 0.0), capped)
        # Everybody starts with two purchases of the typical amount.
        counted = np.where(known, x, 0.0)
        return np.asarray((2.0 * self._typical_amount + counted * capped) / (2.0 + counted))

    def _purchases_to_come(
        self, model: PurchaseModel, x: np.ndarray, T: np.ndarray, horizon: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Purchases within the horizon if alive: plain, and each weighted with its discount."""
        whole = model.expected_purchases_if_alive(horizon, x, T)
        if not self.yearly_discount:
            return whole, whole
        edges = np.append(np.arange(0.0, horizon, _STEP_DAYS), horizon)
        discounted = np.zeros(len(x))
        before = np.zeros(len(x))
        for start, end in pairwise(edges):
            after = whole if end == horizon else model.expected_purchases_if_alive(end, x, T)
            years = (start + end) / 2 / _DAYS_A_YEAR
            discounted += (after - before) * (1 + self.yearly_discount) ** -years
            before = after
        return whole, discounted


def _columns(
    x: ArrayLike, t_x: ArrayLike, T: ArrayLike, z: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    columns = [np.atleast_1d(np.asarray(column, dtype=float)) for column in (x, t_x, T, z)]
    if len({column.shape for column in columns}) > 1:
        raise ValueModelError("Give x, t_x, T and z for the same users, one entry each.")
    counts, recency, age, amounts = columns
    never_paid = np.isnan(age) | np.isnan(counts)
    age = np.where(never_paid, np.nan, age)
    # A payer without repeat purchases has no last one.
    recency = np.where((counts == 0) | np.isnan(recency), 0.0, recency)
    return np.where(never_paid, 0.0, counts), np.where(never_paid, 0.0, recency), age, amounts
