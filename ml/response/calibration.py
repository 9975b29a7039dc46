"""Making a predicted chance mean what it says: of those given 0.2, one in five returns."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression

from ml.response.learners import Kind, bounded
from ml.response.selection import FOLDS, row_losses, simplest_within_one_standard_error, user_folds

# Below these counts isotonic regression fits steps to noise; Platt's two numbers are all that can be learned.
_MINIMUM_ISOTONIC_ROWS = 1000
_MINIMUM_ISOTONIC_SUCCESSES = 100
_MINIMUM_ROWS = 50


class Calibrator:
    """Maps predictions to what happened on later data.

    For chances: nothing, Platt (logistic on the log odds, pulled towards "nothing") or isotonic, by log loss on
    other users, the simplest within one standard error. For amounts: one factor.

    Source:
        Platt (1999), Probabilistic outputs for support vector machines; Zadrozny and Elkan (2002) for isotonic.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind: Kind = kind

    def fit(self, prediction: np.ndarray, outcome: np.ndarray, weight: np.ndarray, user_ids: np.ndarray) -> Self:
        """Learn from predictions for rows the model has not seen and their outcomes, all of shape (rows,)."""
        self.method_ = "none"
        self.parameters_ = np.zeros(0)
        if len(outcome) < _MINIMUM_ROWS or bool(np.all(outcome == outcome[0])) or self.kind == "difference":
            return self
        if self.kind == "amount":
            factor = float((weight * outcome).sum() / max((weight * prediction).sum(), 1e-12))
            # Few rows say little about a factor: the log is shrunk by the rows' share against 100 imagined ones.
            share = len(outcome) / (len(outcome) + 100)
            self.method_, self.parameters_ = "factor", np.array([round(factor**share, 9)])
            return self
        methods = ["none", "platt"]
        if len(outcome) >= _MINIMUM_ISOTONIC_ROWS and outcome.sum() >= _MINIMUM_ISOTONIC_SUCCESSES:
            methods.append("isotonic")
        folds = user_folds(user_ids, seed=1)
        losses = {}
        for method in methods:
            mapped = prediction.copy()
            for fold in range(FOLDS):
                learn, apply = folds != fold, folds == fold
                if learn.any() and apply.any():
                    parameters = _learn(method, prediction[learn], outcome[learn], weight[learn])
                    mapped[apply] = _apply(method, parameters, prediction[apply])
            losses[method] = row_losses("chance", outcome, mapped)
        self.method_ = simplest_within_one_standard_error(losses, methods, user_ids, weight).chosen
        self.parameters_ = _learn(self.method_, prediction, outcome, weight)
        return self

    def apply(self, prediction: np.ndarray) -> np.ndarray:
        """Return the calibrated predictions, shape (rows,)."""
        if self.method_ == "factor":
            return prediction * self.parameters_[0]
        return bounded(self.kind, _apply(self.method_, self.parameters_, prediction))

    def to_state(self) -> dict[str, Any]:
        """Return everything learned as arrays and JSON values."""
        return {"kind": self.kind, "method": self.method_, "parameters": self.parameters_}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild a fitted calibrator from `to_state`."""
        calibrator = cls(state["kind"])
        calibrator.method_ = state["method"]
        calibrator.parameters_ = state["parameters"]
        return calibrator


def log_odds(chance: np.ndarray) -> np.ndarray:
    """Return log(p / (1 - p))."""
    inside = bounded("chance", chance)
    return np.log(inside) - np.log1p(-inside)


def platt_parameters(prediction: np.ndarray, outcome: np.ndarray, weight: np.ndarray, pull: float = 1.0) -> np.ndarray:
    """Fit intercept and slope on the log odds; `pull` is the weight of the prior belief in (0, 1)."""
    scores = log_odds(prediction)

    def penalised_loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        linear = parameters[0] + parameters[1] * scores
        residual = weight * (1 / (1 + np.exp(-np.clip(linear, -30, 30))) - outcome)
        shift = parameters - np.array([0.0, 1.0])
        loss = (weight * (np.logaddexp(0, linear) - outcome * linear)).sum() + 0.5 * pull * (shift**2).sum()
        return float(loss), np.array([residual.sum(), (residual * scores).sum()]) + pull * shift

    fitted = minimize(penalised_loss, np.array([0.0, 1.0]), jac=True, method="BFGS").x
    return np.round(fitted, 7)


def _learn(method: str, prediction: np.ndarray, outcome: np.ndarray, weight: np.ndarray) -> np.ndarray:
    if method == "platt":
        return platt_parameters(prediction, outcome, weight)
    if method == "isotonic":
        model = IsotonicRegression(out_of_bounds="clip").fit(prediction, outcome, sample_weight=weight)
        return np.stack([model.X_thresholds_, model.y_thresholds_])
    return np.zeros(0)


def _apply(method: str, parameters: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    if method == "platt":
        linear = parameters[0] + parameters[1] * log_odds(prediction)
        return 1 / (1 + np.exp(-np.clip(linear, -30, 30)))
    if method == "isotonic":
        return np.interp(prediction, parameters[0], parameters[1])
    return prediction
