"""How the effect of an event differs between users: slopes along few columns, or a learner that challenges them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ml.response.affinity import AFFINITY
from ml.response.learned_effects import KINDS, LearnedEffect, fit_effect
from ml.response.learners import BoostedLearner, BoostingSettings, Kind, Learner, LinearLearner
from ml.response.shifts import Compared, link
from ml.response.slopes import GroupedSlopes, fit_slopes
from ml.response.summary import FeatureSummary, SharedColumns

EVENT_TYPE = "event type"


@dataclass(frozen=True)
class UserEffects:
    """How the effect differs between users.

    Attributes:
        summary: columns that the slopes and the challenger look at.
        slopes: posterior of the slopes, which also gives the errors of all.
        levels: posterior of a model with a mean for each type and, after a return, one slope along the affinity.
        unexplained: spread between users that no feature shows, on the link. It cannot be measured: nobody is both
            invited and left alone. It is taken to have twice the variance of what the features do show.
        challenger: a learner that is used in place of the slopes' means.
    """

    summary: FeatureSummary
    slopes: GroupedSlopes
    levels: GroupedSlopes
    unexplained: float
    challenger: LearnedEffect | None

    def level_columns(self, columns: SharedColumns) -> np.ndarray:
        """Return the columns that `levels` looks at, (rows, 0 or 1)."""
        rows, count = len(columns.shared), self.levels.means.shape[1] - 1
        positions = self.summary.positions_of((AFFINITY,))[:count]
        return np.column_stack([np.zeros((rows, 0)), *(columns.column(position) for position in positions)])

    def to_state(self) -> dict[str, Any]:
        """Return everything learned as arrays, JSON values and model bytes."""
        return {
            "summary": self.summary.to_state(),
            "slopes": self.slopes.to_state(),
            "levels": self.levels.to_state(),
            "unexplained": self.unexplained,
            "challenger": None if self.challenger is None else self.challenger.to_state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "UserEffects":
        """Rebuild from `to_state`."""
        challenger = state["challenger"]
        return cls(
            FeatureSummary.from_state(state["summary"]),
            GroupedSlopes.from_state(state["slopes"]),
            GroupedSlopes.from_state(state["levels"]),
            float(state["unexplained"]),
            None if challenger is None else LearnedEffect.from_state(challenger),
        )


def with_type(features: pd.DataFrame, event_features: pd.DataFrame, types: np.ndarray) -> pd.DataFrame:
    """Join user features, features towards the event type and the type itself into one frame."""
    joined = pd.concat([features.reset_index(drop=True), event_features.reset_index(drop=True)], axis=1)
    return joined.assign(**{EVENT_TYPE: pd.Series(types.astype(str), dtype="str")})


def shift_of(expected: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """Return the shift of the log odds that moves chances by a difference."""
    inside = np.clip(expected + difference, 1e-4, 1 - 1e-4)
    return link("chance", inside) - link("chance", expected)


def fit_effect_slopes(
    compared: Compared, summary: FeatureSummary, matrix: np.ndarray, rows: np.ndarray, tastes: Sequence[int] = ()
) -> tuple[np.ndarray, GroupedSlopes, GroupedSlopes]:
    """Learn the effect from some rows (a mask).

    Returns:
        log odds of every row over both arms, the slopes of the effect, and a model of the effect without slopes but for
        those along the columns `tastes`, which do not vanish.
    """
    examples, blocks = compared.examples, summary.blocks()
    offset = start = link("chance", compared.expected)
    # What the baseline misses among these rows, in either arm: without it, it would be noise of the effects. Among rows
    # that marketing picked it misses something else.
    for side in (compared.is_believed, ~compared.is_believed):
        learned = rows & side
        if not learned.any():
            continue
        count = int(learned.sum())
        missed = fit_slopes(
            matrix[learned],
            start[learned],
            examples.outcome[learned],
            np.ones(count),
            np.full(count, ""),
            blocks,
            has_own_slopes=False,
        )
        offset = np.where(side, start + missed.predict_mean(matrix, ""), offset)
    contrast = examples.is_exposed - compared.propensity
    known = (offset[rows], examples.outcome[rows], contrast[rows], examples.event_types[rows].astype(str))
    doubted = ~compared.is_believed[rows]
    return (
        offset,
        fit_slopes(matrix[rows], *known, blocks, is_doubted=doubted),
        fit_slopes(matrix[rows][:, tastes], *known, (0,) * len(tastes), may_vanish=False, is_doubted=doubted),
    )


def predict_groups(slopes: GroupedSlopes, matrix: np.ndarray, types: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and error of the shift for rows of any types."""
    shift, error = np.zeros(len(matrix)), np.zeros(len(matrix))
    for name in np.unique(types.astype(str)):
        rows = types == name
        shift[rows], error[rows] = slopes.predict(matrix[rows], name)
    return shift, error


def typed(matrix: np.ndarray, types: np.ndarray) -> pd.DataFrame:
    """The columns as a frame with the event type, for learners of frames."""
    frame = pd.DataFrame(matrix, columns=[f"column {position}" for position in range(matrix.shape[1])])
    return frame.assign(**{EVENT_TYPE: pd.Series(types.astype(str), dtype="str")})


def fit_challenger(
    kind: str,
    compared: Compared,
    alone: np.ndarray,
    matrix: np.ndarray,
    rows: np.ndarray,
    thread_count: int,
    random_state: int,
) -> LearnedEffect:
    """Fit one of `CHALLENGERS` on some rows (a mask); `alone` is the chance expected without the event."""
    examples = compared.examples

    def base(outcome_kind: Kind) -> Learner:
        if kind not in KINDS:
            return LinearLearner(outcome_kind, penalty=100.0)
        settings = BoostingSettings(iterations=80, depth=3, learning_rate=0.05, l2_leaf_reg=100.0, subsample=0.6)
        return BoostedLearner(outcome_kind, settings, thread_count=thread_count, random_state=random_state)

    return fit_effect(
        kind.split()[-1],
        typed(matrix[rows], examples.event_types[rows]),
        examples.outcome[rows],
        examples.is_exposed[rows],
        compared.propensity[rows],
        alone[rows],
        "chance",
        base,
    )
