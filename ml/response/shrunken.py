"""A linear learner whose slopes shrink by what the data say: the constant where features say nothing.

Where payments after a return are a few hundred, a fixed penalty either learns noise or nothing. Here the penalty is
estimated with the slopes (`slopes.py`), on the few columns that sum up the features (`summary.py`).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from ml.response.learners import FeatureLearner, Learner
from ml.response.slopes import GroupedSlopes, fit_slopes
from ml.response.summary import FeatureSummary

_STEPS = 200
_CONVERGED = 1e-4
_SMALLEST_SPREAD = 1e-8
# Added to amounts before the logarithm, as a share of their mean, so that small ones do not own the slopes.
_LIFT = 0.02


class ShrunkenLearner(FeatureLearner):
    """Empirical Bayes: logistic for a chance, log-normal for an amount (scaled to the mean), normal for a difference.

    Source: MacKay (1992), Bayesian interpolation, for the spread of the slopes by EM.
    """

    name: ClassVar[str] = "shrunken"
    complexity: ClassVar[int] = 1

    def fresh(self) -> Learner:
        """Return a learner of the same settings that has learned nothing."""
        return ShrunkenLearner(self.kind)

    def _fit_features(self, frame: pd.DataFrame, outcome: np.ndarray, weight: np.ndarray) -> None:
        self.summary_ = FeatureSummary()
        matrix = self.summary_.fit_matrix(frame)
        with threadpool_limits(limits=1):
            if self.kind == "chance":
                self.slopes_, self.start_ = _logistic(self.summary_, matrix, outcome, weight, self.constant_)
            else:
                lift = _LIFT * self.constant_ if self.kind == "amount" else 0.0
                target = np.log(np.maximum(outcome, 0.0) + lift) if self.kind == "amount" else outcome
                self.slopes_, self.start_ = _normal(matrix, target, weight)
                if self.kind == "amount":
                    # The mean of exp() is not exp() of the mean: the level is set so that the sum is right.
                    total = np.exp(self._score(matrix)) @ weight
                    self.start_ += float(np.round(np.log((weight @ outcome) / total), 9))

    def _score(self, matrix: np.ndarray) -> np.ndarray:
        return self.start_ + np.einsum("ij,j->i", matrix, self.slopes_)

    def _predict_features(self, frame: pd.DataFrame) -> np.ndarray:
        score = self._score(self.summary_.to_matrix(frame))
        if self.kind == "chance":
            return np.asarray(1.0 / (1.0 + np.exp(-np.clip(score, -30, 30))))
        return np.asarray(np.exp(np.clip(score, -30, 30)) if self.kind == "amount" else score)

    def importances(self) -> dict[str, float]:
        """Share of each column in the sum of absolute slopes."""
        total = 0.0 if self.is_constant_ else float(np.abs(self.slopes_).sum())
        if total == 0:
            return {}
        shares = np.abs(self.slopes_) / total
        return {name: float(share) for name, share in zip(self.summary_.column_names(), shares, strict=True)}

    def to_state(self) -> dict[str, Any]:
        """Return everything learned as arrays and JSON values."""
        state = super().to_state()
        if not self.is_constant_:
            state |= {"summary": self.summary_.to_state(), "slopes": self.slopes_, "start": self.start_}
        return state

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        if not self.is_constant_:
            self.summary_ = FeatureSummary.from_state(state["summary"])
            self.slopes_, self.start_ = state["slopes"], float(state["start"])


def _logistic(
    summary: FeatureSummary, matrix: np.ndarray, outcome: np.ndarray, weight: np.ndarray, mean: float
) -> tuple[np.ndarray, float]:
    """Slopes and level of the log odds."""
    start, rows = float(np.log(mean / (1 - mean))), len(matrix)
    slopes: GroupedSlopes = fit_slopes(
        matrix,
        np.full(rows, start),
        outcome,
        np.ones(rows),
        np.full(rows, ""),
        summary.blocks(),
        weight=weight,
        has_own_slopes=False,
    )
    return slopes.means[0, 1:], float(np.round(start + slopes.means[0, 0], 9))


def _normal(matrix: np.ndarray, target: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Slopes and level of a normal outcome, spread and noise by the marginal likelihood."""
    centre = weight @ matrix / weight.sum()
    mean = float(weight @ target / weight.sum())
    centred, residual = matrix - centre, target - mean
    information, score = (centred * weight[:, np.newaxis]).T @ centred, centred.T @ (weight * residual)
    total = float(weight @ residual**2)
    noise = spread = max(total / weight.sum(), _SMALLEST_SPREAD)
    spread *= 0.01
    slopes = np.zeros(matrix.shape[1])
    for _ in range(_STEPS):
        covariance = np.linalg.inv(information / noise + np.eye(len(slopes)) / spread)
        slopes = covariance @ score / noise
        known = len(slopes) - np.trace(covariance) / spread
        before = spread
        spread = max(float(slopes @ slopes) / max(known, 1e-6), _SMALLEST_SPREAD)
        left = total - 2 * float(slopes @ score) + float(slopes @ information @ slopes)
        noise = max(left / max(weight.sum() - known, 1.0), _SMALLEST_SPREAD)
        if abs(np.log(spread / before)) < _CONVERGED:
            break
    slopes = np.round(slopes, 12)
    return slopes, float(np.round(mean - centre @ slopes, 9))
