"""Brings money that was predicted for each segment to what came in, as far as enough came in to tell."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ml.value.errors import ValueModelError

# What is known of all segments weighs as much beside a segment's own money as so many payments.
_PAYMENTS = 10.0
_LARGEST_FACTOR = 5.0
# A payment larger than so many of all counts as that: one lucky return must not be a segment's rule.
_LARGEST_QUANTILE = 0.99


class MoneyBySegment:
    """A factor for each segment by which predicted money is multiplied.

    A model that learned amounts from few payments gives everybody nearly the same; segments that pay less then look
    better than they are, and scores cannot be compared across segments. The factor is money that came in over money
    that was predicted, drawn towards that of all segments by ten typical payments, and that of all towards 1. It must
    be learned from predictions that were made without the returning users: a model that knows their payments by heart
    expects what came in.

    Learned names:
        factors_: by segment.
        errors_: standard error of each factor, from how far money strayed from what was predicted of the users.
        overall_: of segments that were not seen.
    """

    def __init__(self) -> None:
        self.factors_: dict[str, float] = {}
        self.errors_: dict[str, float] = {}
        self.overall_ = 1.0

    def fit(
        self, segments: ArrayLike, predicted: ArrayLike, realised: ArrayLike, users: ArrayLike | None = None
    ) -> "MoneyBySegment":
        """Learn from past returns.

        Args:
            segments: the user's segment at the return, shape (returns,).
            predicted: money that was expected of the return.
            realised: money that came in; 0 without a payment.
            users: whose returns they are: those of one user stray together. None takes each for a user's own.
        """
        names = np.asarray(segments, dtype=object)
        expected, came = np.asarray(predicted, dtype=float), np.asarray(realised, dtype=float)
        if not names.shape == expected.shape == came.shape or (expected < 0).any() or (came < 0).any():
            raise ValueModelError("Give segment, predicted and realised money, at least 0, for the same returns.")
        self.factors_, self.errors_, self.overall_ = {}, {}, 1.0
        payments = came[came > 0]
        if not payments.size or expected.sum() <= 0:
            return self
        came = np.minimum(came, np.quantile(payments, _LARGEST_QUANTILE))
        payments = came[came > 0]
        weight = _PAYMENTS * float(payments.mean())
        self.overall_ = _bounded((float(came.sum()) + weight) / (float(expected.sum()) + weight))
        # Money comes in lumps: its variance grows with what is expected (a compound Poisson sum), as it did over all.
        _, owner = np.unique(
            np.arange(came.size) if users is None else np.asarray(users, dtype=str), return_inverse=True
        )
        strayed = np.bincount(owner, weights=came - self.overall_ * expected)
        lump = float(strayed @ strayed) / (self.overall_ * float(expected.sum()))
        for name in sorted(set(names)):
            inside = names == name
            known = float(expected[inside].sum()) + weight
            factor = _bounded((float(came[inside].sum()) + weight * self.overall_) / known)
            self.factors_[str(name)], self.errors_[str(name)] = factor, math.sqrt(lump * factor / known)
        return self

    def factor(self, segments: ArrayLike) -> np.ndarray:
        """Factor of each user's segment, float64 of shape (users,)."""
        names = np.asarray(segments, dtype=object)
        return np.array([self.factors_.get(str(name), self.overall_) for name in names], dtype=float)

    def to_state(self) -> dict[str, Any]:
        """Everything learned, as JSON values."""
        return {"factors": dict(self.factors_), "overall": self.overall_}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "MoneyBySegment":
        """Rebuild from `to_state`."""
        money = cls()
        money.factors_ = {str(name): float(factor) for name, factor in state["factors"].items()}
        money.overall_ = float(state["overall"])
        return money


def _bounded(factor: float) -> float:
    return min(max(factor, 1.0 / _LARGEST_FACTOR), _LARGEST_FACTOR)
