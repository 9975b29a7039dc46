"""What happens without any event: the chance (or amount) of a user left alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ml.response.calibration import Calibrator
from ml.response.examples import Examples
from ml.response.learners import BoostedLearner, Kind, Learner, LinearLearner, learner_from_state
from ml.response.selection import (
    FOLDS,
    Comparison,
    row_losses,
    simplest_within_one_standard_error,
    time_slices,
    user_folds,
)

# With fewer rows or fewer of either outcome, features cannot be told from chance.
MINIMUM_ROWS = 200
MINIMUM_OF_EACH = 20


@dataclass(frozen=True)
class Baseline:
    """A chosen, calibrated and refitted learner.

    Attributes:
        learner: fitted on every row.
        calibrator: learned on later rows of other users.
        comparison: how the candidates did; None where the rows were too few to compare.
        is_out_of_time: whether choice and report used later moments than the fit.
        report: rows of the last slice with predictions made without them and without their users: columns user_id,
            outcome, prediction, weight.
    """

    learner: Learner
    calibrator: Calibrator
    comparison: Comparison | None
    is_out_of_time: bool
    report: pd.DataFrame

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Return calibrated predictions, float64 of shape (rows,)."""
        return self.calibrator.apply(self.learner.predict(frame))

    def to_state(self) -> dict[str, Any]:
        """Return what prediction needs as arrays, JSON values and model bytes."""
        return {"learner": self.learner.to_state(), "calibrator": self.calibrator.to_state()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Baseline":
        """Rebuild the predicting parts from `to_state`."""
        return cls(
            learner_from_state(state["learner"]),
            Calibrator.from_state(state["calibrator"]),
            comparison=None,
            is_out_of_time=False,
            report=pd.DataFrame(),
        )


def candidates(kind: Kind, *, thread_count: int, random_state: int) -> dict[str, Learner]:
    """Return fresh candidates by name, the simplest first."""
    learners = (
        Learner(kind),
        LinearLearner(kind),
        BoostedLearner(kind, thread_count=thread_count, random_state=random_state),
    )
    return {learner.name: learner for learner in sorted(learners, key=lambda learner: learner.complexity)}


def select_baseline(
    kind: Kind, examples: Examples, weight: np.ndarray, *, thread_count: int = 1, random_state: int = 0
) -> Baseline:
    """Compare candidates on later rows of other users, calibrate the winner there, refit it on all rows."""
    frame, outcome, users = examples.features, examples.outcome, examples.user_ids
    folds = user_folds(users, random_state)
    slices = time_slices(examples.reference_days)
    if not _is_enough(kind, outcome, folds, slices.earlier, slices.later):
        learner = Learner(kind).fit(frame, outcome, weight)
        report = _report(examples, weight, slices.last, learner.predict(frame))
        return Baseline(
            learner, Calibrator(kind).fit(outcome[:0], outcome[:0], outcome[:0], users[:0]), None, False, report
        )

    def predict_others(name: str, learn: np.ndarray, apply: np.ndarray) -> np.ndarray:
        prediction = np.full(len(outcome), np.nan)
        for fold in range(FOLDS):
            rows, others = learn & (folds != fold), apply & (folds == fold)
            learner = candidates(kind, thread_count=thread_count, random_state=random_state)[name]
            learner.fit(frame[rows], outcome[rows], weight[rows])
            prediction[others] = learner.predict(frame[others])
        return prediction

    names = list(candidates(kind, thread_count=thread_count, random_state=random_state))
    later = slices.later
    predictions = {name: predict_others(name, slices.earlier, later)[later] for name in names}
    losses = {name: row_losses(kind, outcome[later], prediction) for name, prediction in predictions.items()}
    comparison = simplest_within_one_standard_error(losses, names, users[later], weight[later])
    chosen = comparison.chosen
    calibrator = Calibrator(kind).fit(predictions[chosen], outcome[later], weight[later], users[later])
    if slices.is_out_of_time:
        reported = calibrator.apply(predict_others(chosen, ~slices.last, slices.last))
    else:
        reported = np.where(later, calibrator.apply(predict_others(chosen, slices.earlier, later)), np.nan)
    learner = candidates(kind, thread_count=thread_count, random_state=random_state)[chosen]
    learner.fit(frame, outcome, weight)
    report = _report(examples, weight, slices.last, reported)
    return Baseline(learner, calibrator, comparison, slices.is_out_of_time, report)


def predict_unseen(
    kind: Kind,
    baseline: Baseline,
    alone: Examples,
    weight: np.ndarray,
    examples: Examples,
    *,
    thread_count: int = 1,
    random_state: int = 0,
) -> np.ndarray:
    """Predict examples by learners of the chosen kind that have not seen their users, calibrated as the baseline is."""
    if isinstance(baseline.learner, LinearLearner | BoostedLearner):
        learn_folds, apply_folds = (user_folds(part.user_ids, random_state) for part in (alone, examples))
        expected = np.empty(len(examples))
        for fold in range(FOLDS):
            rows, others = learn_folds != fold, apply_folds == fold
            learner = candidates(kind, thread_count=thread_count, random_state=random_state)[baseline.learner.name]
            learner.fit(alone.features[rows], alone.outcome[rows], weight[rows])
            expected[others] = learner.predict(examples.features[others])
        return baseline.calibrator.apply(expected)
    return baseline.predict(examples.features)


def _is_enough(kind: Kind, outcome: np.ndarray, folds: np.ndarray, earlier: np.ndarray, later: np.ndarray) -> bool:
    if len(outcome) < MINIMUM_ROWS:
        return False
    for rows in [later, *[earlier & (folds != fold) for fold in range(FOLDS)]]:
        part = outcome[rows]
        if len(part) < MINIMUM_OF_EACH:
            return False
        if kind == "chance" and min(part.sum(), len(part) - part.sum()) < MINIMUM_OF_EACH / 2:
            return False
    return bool(min((later & (folds != fold)).sum() for fold in range(FOLDS)) > 0)


def _report(examples: Examples, weight: np.ndarray, rows: np.ndarray, prediction: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user_id": examples.user_ids[rows],
            "outcome": examples.outcome[rows],
            "prediction": prediction[rows],
            "weight": weight[rows],
        }
    )
