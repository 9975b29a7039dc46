"""Learners of one number from features: constant, linear, gradient boosting. Each for three kinds of outcome.

    chance      0 or 1; predicts a probability
    amount      money >= 0; predicts its mean
    difference  any real number (a pseudo-outcome); predicts its mean

A learner holds everything it learned, encoding included, and gives it back as plain arrays and native CatBoost bytes.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from catboost import CatBoostClassifier, CatBoostRegressor, Pool
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from threadpoolctl import threadpool_limits

from ml.response.encoding import FeatureEncoder
from ml.response.examples import ResponseError

Kind = Literal["chance", "amount", "difference"]

# A probability of exactly 0 or 1 is a claim no finite sample supports, and makes a log loss infinite.
SMALLEST_CHANCE = 1e-4


@dataclass(frozen=True)
class BoostingSettings:
    """Size and pace of gradient boosting; the defaults are small on purpose: few rows, weak signals."""

    iterations: int = 150
    depth: int = 4
    learning_rate: float = 0.05
    l2_leaf_reg: float = 10.0
    subsample: float = 0.8


# Every learner with a name, by name: what an archive says it holds.
LEARNERS: dict[str, type["Learner"]] = {}


class Learner:
    """Base: predicts the (smoothed) mean of the outcome, whatever the features. The simplest candidate of all."""

    name: ClassVar[str] = "constant"
    # Order of simplicity: of two learners that are equally good, the one with the lower figure is taken.
    complexity: ClassVar[int] = 0

    def __init_subclass__(cls) -> None:
        if "name" in cls.__dict__:
            LEARNERS[cls.name] = cls

    def __init__(self, kind: Kind) -> None:
        self.kind: Kind = kind

    def fresh(self) -> "Learner":
        """Return a learner of the same settings that has learned nothing."""
        return Learner(self.kind)

    def fit(self, frame: pd.DataFrame, outcome: np.ndarray, weight: np.ndarray | None = None) -> Self:
        """Learn from features (rows, features), outcomes (rows,) and optional weights (rows,) > 0."""
        if len(outcome) == 0:
            raise ResponseError("There is nothing to learn from: the examples are empty.")
        weight = self._scaled(outcome, weight)
        self.constant_ = _smoothed_mean(self.kind, outcome, weight)
        return self

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the expected outcome, float64 of shape (rows,)."""
        return np.full(len(frame), self.constant_)

    @property
    def feature_names(self) -> frozenset[str]:
        """Names of the features that `predict` looks at."""
        return frozenset()

    def _scaled(self, outcome: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
        """Weights with mean 1; those of a difference are kept: they say how much a row knows, against a penalty."""
        if weight is None:
            return np.ones(len(outcome))
        return weight if self.kind == "difference" else weight * len(weight) / weight.sum()

    def importances(self) -> dict[str, float]:
        """Return how much each feature moves the prediction, as shares that add up to 1 (empty if none does)."""
        return {}

    def to_state(self) -> dict[str, Any]:
        """Return everything learned as arrays, JSON values and model bytes."""
        return {"learner": self.name, "kind": self.kind, "constant": self.constant_}

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.constant_ = float(state["constant"])


class FeatureLearner(Learner):
    """What learners from features share: the encoder, and the way out when there is nothing to tell apart."""

    def fit(self, frame: pd.DataFrame, outcome: np.ndarray, weight: np.ndarray | None = None) -> Self:
        """Learn from features (rows, features), outcomes (rows,) and optional weights (rows,) > 0."""
        super().fit(frame, outcome, weight)
        self.encoder_ = FeatureEncoder().fit(frame)
        # One outcome only, or no feature that varies: the constant is all there is to say.
        self.is_constant_ = not self.encoder_.names_ or bool(np.all(outcome == outcome[0]))
        if not self.is_constant_:
            self._fit_features(frame, outcome.astype(np.float64), self._scaled(outcome, weight))
        return self

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the expected outcome, float64 of shape (rows,)."""
        if self.is_constant_ or len(frame) == 0:
            return super().predict(frame)
        return bounded(self.kind, self._predict_features(frame))

    @property
    def feature_names(self) -> frozenset[str]:
        """Names of the features that `predict` looks at."""
        return frozenset() if self.is_constant_ else frozenset(self.encoder_.names_)

    def to_state(self) -> dict[str, Any]:
        """Return everything learned as arrays, JSON values and model bytes."""
        return {**super().to_state(), "is_constant": self.is_constant_, "encoder": self.encoder_.to_state()}

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        self.is_constant_ = bool(state["is_constant"])
        self.encoder_ = FeatureEncoder.from_state(state["encoder"])

    def _fit_features(self, frame: pd.DataFrame, outcome: np.ndarray, weight: np.ndarray) -> None:
        raise NotImplementedError

    def _predict_features(self, frame: pd.DataFrame) -> np.ndarray:
        raise NotImplementedError


class LinearLearner(FeatureLearner):
    """Regularised linear model: logistic for a chance, log-linear for an amount, ridge for a difference.

    Args:
        kind: kind of the outcome.
        penalty: weight of the squared coefficients (of standardised columns) against the loss.
        minimum_evidence: for a difference, columns whose own score statistic (in standard errors) is below this are
            left out: where signals are few and weak, a ridge over all columns mostly adds up noise.
    """

    name = "linear"
    complexity = 1

    def __init__(self, kind: Kind, penalty: float = 10.0, minimum_evidence: float = 0.0) -> None:
        super().__init__(kind)
        self.penalty = penalty
        self.minimum_evidence = minimum_evidence

    def fresh(self) -> Learner:
        """Return a learner of the same settings that has learned nothing."""
        return LinearLearner(self.kind, self.penalty, self.minimum_evidence)

    def _fit_features(self, frame: pd.DataFrame, outcome: np.ndarray, weight: np.ndarray) -> None:
        # One thread: sums of several add up in changing order, and the same data must give the same model. On matrices
        # of this size more threads mostly wait for each other.
        with threadpool_limits(limits=1):
            self._solve(self.encoder_.to_matrix(frame), outcome, weight)

    def _solve(self, matrix: np.ndarray, outcome: np.ndarray, weight: np.ndarray) -> None:
        model: LogisticRegression | PoissonRegressor | Ridge
        if self.kind == "chance":
            model = LogisticRegression(C=1.0 / self.penalty, solver="newton-cholesky", max_iter=100, tol=1e-6)
            model.fit(matrix, outcome.astype(int), sample_weight=weight)
            coefficients, intercept = model.coef_[0], float(model.intercept_[0])
        elif self.kind == "amount":
            # The Poisson score is unbiased for the mean of any outcome >= 0 whose logarithm is linear.
            # Divided by the mean the fit does not depend on the currency.
            self.unit_ = max(float(np.average(outcome, weights=weight)), 1e-9)
            model = PoissonRegressor(
                alpha=self.penalty / len(outcome), solver="newton-cholesky", max_iter=100, tol=1e-7
            )
            model.fit(matrix, outcome / self.unit_, sample_weight=weight)
            coefficients, intercept = model.coef_, float(model.intercept_ + np.log(self.unit_))
        else:
            mean = float(np.average(outcome, weights=weight))
            centred = matrix - np.average(matrix, axis=0, weights=weight)
            error = np.sqrt(np.maximum((weight[:, np.newaxis] * centred**2).sum(axis=0), 1e-12))
            kept = np.abs(centred.T @ (weight * (outcome - mean))) / error >= self.minimum_evidence
            coefficients, intercept = np.zeros(matrix.shape[1]), mean
            if kept.any():
                model = Ridge(alpha=self.penalty)
                model.fit(matrix[:, kept], outcome, sample_weight=weight)
                coefficients[kept], intercept = model.coef_, float(model.intercept_)
        # Nine digits: the last bits depend on the number of threads, and the version is the hash of the content.
        self.coefficients_ = _rounded(np.asarray(coefficients, dtype=np.float64))
        self.intercept_ = float(_rounded(np.array([intercept]))[0])

    def _predict_features(self, frame: pd.DataFrame) -> np.ndarray:
        # einsum adds up each row by itself: a blocked matrix product may round a row differently in other company.
        score = np.einsum("ij,j->i", self.encoder_.to_matrix(frame), self.coefficients_) + self.intercept_
        if self.kind == "chance":
            return 1.0 / (1.0 + np.exp(-np.clip(score, -30, 30)))
        return np.exp(np.clip(score, -30, 30)) if self.kind == "amount" else score

    def importances(self) -> dict[str, float]:
        """Share of each column in the sum of absolute standardised coefficients."""
        if self.is_constant_:
            return {}
        return _shares(dict(zip(self.encoder_.column_names(), np.abs(self.coefficients_), strict=True)))

    def to_state(self) -> dict[str, Any]:
        """Return everything learned as arrays and JSON values."""
        state = {**super().to_state(), "penalty": self.penalty}
        if not self.is_constant_:
            state |= {"coefficients": self.coefficients_, "intercept": self.intercept_}
        return state

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        if not self.is_constant_:
            self.coefficients_ = state["coefficients"]
            self.intercept_ = float(state["intercept"])


class BoostedLearner(FeatureLearner):
    """Gradient boosted symmetric trees (CatBoost): log loss, Tweedie or squared error by kind."""

    name = "boosted"
    complexity = 3
    _LOSSES: ClassVar[dict[str, str]] = {
        "chance": "Logloss",
        "amount": "Tweedie:variance_power=1.5",
        "difference": "RMSE",
    }

    def __init__(
        self,
        kind: Kind,
        settings: BoostingSettings | None = None,
        *,
        thread_count: int = 1,
        random_state: int = 0,
    ) -> None:
        super().__init__(kind)
        self.settings = settings or BoostingSettings()
        self.thread_count = thread_count
        self.random_state = random_state

    def fresh(self) -> Learner:
        """Return a learner of the same settings that has learned nothing."""
        return type(self)(self.kind, self.settings, thread_count=self.thread_count, random_state=self.random_state)

    def _fit_features(self, frame: pd.DataFrame, outcome: np.ndarray, weight: np.ndarray) -> None:
        self.unit_ = max(float(np.average(outcome, weights=weight)), 1e-9) if self.kind == "amount" else 1.0
        family = CatBoostClassifier if self.kind == "chance" else CatBoostRegressor
        self.model_ = family(
            loss_function=self._LOSSES[self.kind],
            **asdict(self.settings),
            bootstrap_type="Bernoulli",
            one_hot_max_size=25,
            # Finer borders cost a third of the time and change nothing that can be measured.
            border_count=64,
            random_seed=self.random_state,
            thread_count=self.thread_count,
            allow_writing_files=False,
            verbose=False,
            **self._constraints(),
        )
        self.model_.fit(self._pool(frame, outcome / self.unit_, weight))

    def _constraints(self) -> dict[str, Any]:
        """What the shape of the model must keep to, as arguments of CatBoost."""
        return {}

    def _pool(self, frame: pd.DataFrame, outcome: np.ndarray | None = None, weight: np.ndarray | None = None) -> Pool:
        # Of numbers in columns and of categories CatBoost copies nothing; words it would take cell by cell.
        return Pool(
            self.encoder_.to_boosting_frame(frame),
            label=outcome,
            weight=weight,
            cat_features=self.encoder_.category_names_,
        )

    def _predict_features(self, frame: pd.DataFrame) -> np.ndarray:
        raw = self.model_.predict(self._pool(frame), prediction_type="RawFormulaVal", thread_count=self.thread_count)
        if self.kind == "chance":
            return 1.0 / (1.0 + np.exp(-np.clip(raw, -30, 30)))
        return np.exp(np.clip(raw, -30, 30)) * self.unit_ if self.kind == "amount" else raw

    def shap_values(self, frame: pd.DataFrame) -> np.ndarray:
        """Return what each feature adds to the score of each row, float64 of shape (rows, features)."""
        pool = self._pool(frame)
        values = self.model_.get_feature_importance(pool, type="ShapValues", thread_count=self.thread_count)
        return np.asarray(values)[:, :-1]

    def importances(self) -> dict[str, float]:
        """CatBoost's change of prediction by feature, as shares."""
        if self.is_constant_:
            return {}
        return _shares(dict(zip(self.encoder_.names_, self.model_.get_feature_importance(), strict=True)))

    def to_state(self) -> dict[str, Any]:
        """Return everything learned as arrays, JSON values and native CatBoost bytes."""
        state = {
            **super().to_state(),
            "settings": asdict(self.settings),
            "thread_count": self.thread_count,
            "random_state": self.random_state,
        }
        if not self.is_constant_:
            state |= {"unit": self.unit_, "model": model_bytes(self.model_)}
        return state

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        self.settings = BoostingSettings(**state["settings"])
        self.thread_count, self.random_state = state["thread_count"], state["random_state"]
        if not self.is_constant_:
            self.unit_ = float(state["unit"])
            self.model_ = CatBoostClassifier() if self.kind == "chance" else CatBoostRegressor()
            self.model_.load_model(blob=state["model"])


LEARNERS[Learner.name] = Learner


def learner_from_state(state: Mapping[str, Any]) -> Learner:
    """Rebuild a fitted learner from `to_state`."""
    learner = LEARNERS[state["learner"]](state["kind"])
    learner._restore(state)
    return learner


def bounded(kind: Kind, prediction: np.ndarray) -> np.ndarray:
    """Keep chances inside (0, 1) and amounts at or above 0."""
    if kind == "chance":
        return np.clip(prediction, SMALLEST_CHANCE, 1.0 - SMALLEST_CHANCE)
    return np.maximum(prediction, 0.0) if kind == "amount" else prediction


def model_bytes(model: CatBoostClassifier | CatBoostRegressor) -> bytes:
    """Return a CatBoost model as native bytes without the time and the random name CatBoost writes into it."""
    metadata = model.get_metadata()
    for entry in ("train_finish_time", "model_guid"):
        metadata[entry] = ""
    return bytes(model._serialize_model())


def _smoothed_mean(kind: Kind, outcome: np.ndarray, weight: np.ndarray) -> float:
    """Mean of the outcome; a chance with half a success and half a failure added (Jeffreys), so never 0 or 1."""
    if kind == "chance":
        return float(((weight * outcome).sum() + 0.5) / (weight.sum() + 1.0))
    return float(np.average(outcome, weights=weight))


def _rounded(values: np.ndarray) -> np.ndarray:
    """Round to nine significant digits."""
    exponent = np.floor(np.log10(np.where(values == 0, 1.0, np.abs(values))))
    scale = 10.0 ** (8 - exponent)
    return np.round(values * scale) / scale


def _shares(sizes: dict[str, float]) -> dict[str, float]:
    total = sum(sizes.values())
    return {name: float(size / total) for name, size in sizes.items()} if total > 0 else {}
