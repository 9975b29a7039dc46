"""What happens without any event: the chance (or amount) of a user left alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ml.response.calibration import Calibrator
from ml.response.examples import Examples
from ml.response.forest import ForestLearner
from ml.response.learners import BoostedLearner, BoostingSettings, Kind, Learner, LinearLearner, learner_from_state
from ml.response.monotone import MonotoneLearner, directions
from ml.response.selection import (
    FOLDS,
    Comparison,
    row_losses,
    simplest_within_one_standard_error,
    time_slices,
    user_folds,
)
from ml.response.shrunken import ShrunkenLearner
from ml.response.tuning import tuned_boosting

# With fewer rows or fewer of either outcome, features cannot be told from chance.
MINIMUM_ROWS = 200
MINIMUM_OF_EACH = 20
# Candidates are compared on about so many rows at most, and above so many each learns from half of the users in turn
# and not from three quarters: that is where time begins to count and rows no longer do.
COMPARED_ROWS = 30_000
_ROWS_FOR_HALVES = 8_000


@dataclass(frozen=True)
class Baseline:
    """A chosen, calibrated and refitted learner.

    Attributes:
        learner: fitted on every row.
        calibrator: learned on later rows of other users.
        comparison: how the candidates did; None where the rows were too few to compare.
        is_out_of_time: whether choice and report used later moments than the fit.
        report: rows of the last slice with predictions made without them and without their users: columns user_id,
            outcome, prediction, weight, and row, their position among the examples.
        trials: settings of boosting that were tried; 0 without a search.
    """

    learner: Learner
    calibrator: Calibrator
    comparison: Comparison | None
    is_out_of_time: bool
    report: pd.DataFrame
    trials: int = 0

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


def candidates(
    kind: Kind,
    features: Sequence[str],
    boosting: BoostingSettings | None = None,
    *,
    thread_count: int,
    random_state: int,
) -> dict[str, Learner]:
    """Return fresh candidates by name, the simplest first.

    Args:
        kind: kind of the outcome.
        features: names of the features; without one whose direction is known there is no monotone candidate.
        boosting: size and pace of the boosted ones.
        thread_count: threads of those that use several.
        random_state: seed.
    """
    seeds = {"thread_count": thread_count, "random_state": random_state}
    learners = [
        Learner(kind),
        ShrunkenLearner(kind),
        LinearLearner(kind),
        MonotoneLearner(kind, boosting, **seeds),
        BoostedLearner(kind, boosting, **seeds),
        ForestLearner(kind, **seeds),
    ]
    left_out = set() if directions(features) else {MonotoneLearner.name}
    if kind == "amount":
        # Amounts are so noisy that a constant can hardly be beaten beyond noise, and few customers own all the money:
        # there the shrunken learner, which is a constant by itself where features say nothing, is the simplest.
        left_out.add(Learner.name)
    known = [learner for learner in learners if learner.name not in left_out]
    return {learner.name: learner for learner in sorted(known, key=lambda learner: learner.complexity)}


def select_baseline(
    kind: Kind,
    examples: Examples,
    weight: np.ndarray,
    *,
    learner: Learner | None = None,
    tuning_trials: int = 0,
    tuning_seconds: int = 0,
    thread_count: int = 1,
    random_state: int = 0,
) -> Baseline:
    """Compare candidates on later rows of other users, calibrate the winner there, refit it on all rows.

    With many rows the candidates are compared on those of some users (drawn by hash), and the winner is calibrated and
    reported on a quarter of the users: more would cost minutes and change nothing.

    Args:
        kind: kind of the outcome.
        examples: what to learn from.
        weight: weight of each row.
        learner: taken as it is, in place of the best of the candidates.
        tuning_trials: settings of the boosted candidates to try before; 0 = as they are.
        tuning_seconds: time after which no more are tried; 0 = no limit.
        thread_count: threads of the learners.
        random_state: seed.
    """
    frame, outcome, users = examples.features, examples.outcome, examples.user_ids
    folds = user_folds(users, random_state)
    slices = time_slices(examples.reference_days)
    seeds = {"thread_count": thread_count, "random_state": random_state}
    if learner is not None or not _is_enough(kind, outcome, folds, slices.earlier, slices.later):
        learner = (Learner(kind) if learner is None else learner.fresh()).fit(frame, outcome, weight)
        report = _report(examples, weight, slices.last, learner.predict(frame))
        return Baseline(
            learner, Calibrator(kind).fit(outcome[:0], outcome[:0], outcome[:0], users[:0]), None, False, report
        )
    sample = _sample(users, random_state)
    boosting, trials = None, 0
    if tuning_trials:
        tuning = tuned_boosting(
            kind, examples.take(sample), weight[sample], trials=tuning_trials, seconds=tuning_seconds, **seeds
        )
        boosting, trials = tuning.settings, tuning.tried

    def fresh(name: str) -> Learner:
        return candidates(kind, list(frame.columns), boosting, **seeds)[name]

    def predict_others(
        name: str, learn: np.ndarray, apply: np.ndarray, parts: Sequence[int], of: np.ndarray = folds
    ) -> np.ndarray:
        prediction = np.full(len(outcome), np.nan)
        for part in parts:
            rows, others = learn & (of != part), apply & (of == part)
            learner = fresh(name).fit(frame[rows], outcome[rows], weight[rows])
            prediction[others] = learner.predict(frame[others])
        return prediction

    names = list(candidates(kind, list(frame.columns), None, **seeds))
    later, judged = slices.later, slices.later | slices.last
    count = FOLDS if sample.sum() <= _ROWS_FOR_HALVES else 2
    predictions = {
        name: predict_others(name, slices.earlier & sample, judged & sample, range(count), folds % count)
        for name in names
    }
    compared = later & sample
    losses = {name: row_losses(kind, outcome[compared], predictions[name][compared]) for name in names}
    comparison = simplest_within_one_standard_error(losses, names, users[compared], weight[compared], null=Learner.name)
    chosen = comparison.chosen
    if count == FOLDS:
        unseen = predictions[chosen]
    else:
        # What was learned from fewer rows is surer or less sure of itself than what all rows teach.
        unseen = predict_others(chosen, slices.earlier, judged, range(FOLDS) if sample.all() else (0,))
    known = later & np.isfinite(unseen)
    calibrator = Calibrator(kind).fit(unseen[known], outcome[known], weight[known], users[known])
    reported = np.full(len(outcome), np.nan)
    shown = slices.last & np.isfinite(unseen)
    reported[shown] = calibrator.apply(unseen[shown])
    learner = fresh(chosen).fit(frame, outcome, weight)
    return Baseline(
        learner, calibrator, comparison, slices.is_out_of_time, _report(examples, weight, slices.last, reported), trials
    )


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
    """Predict examples by learners of the chosen kind that have not seen their users, calibrated as the baseline is.

    Users are predicted by those who were taught the others: four parts, with many rows two.
    """
    if baseline.learner.complexity == 0:
        return baseline.predict(examples.features)
    count = FOLDS if len(alone) <= COMPARED_ROWS else 2
    learn_folds, apply_folds = (user_folds(part.user_ids, random_state, count) for part in (alone, examples))
    expected = np.empty(len(examples))
    for fold in range(count):
        rows, others = learn_folds != fold, apply_folds == fold
        learner = baseline.learner.fresh().fit(alone.features[rows], alone.outcome[rows], weight[rows])
        expected[others] = learner.predict(examples.features[others])
    return baseline.calibrator.apply(expected)


def _sample(users: np.ndarray, random_state: int) -> np.ndarray:
    """Mask of the rows that candidates are compared on: all, or those of some users, drawn by hash."""
    parts = 256
    return user_folds(users, random_state + 1, parts) < max(1, round(parts * min(1.0, COMPARED_ROWS / len(users))))


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
            "row": np.flatnonzero(rows),
            "user_id": examples.user_ids[rows],
            "outcome": examples.outcome[rows],
            "prediction": prediction[rows],
            "weight": weight[rows],
        }
    )
