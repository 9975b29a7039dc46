"""S-, T-, X- and DR-learners: effects by any two-arm learner of outcomes, as challengers of the slopes.

All learn from the same few columns (`summary.py`) and the event type, and give the difference of two chances.

Sources: Kuenzel et al. (2019), Metalearners for estimating heterogeneous treatment effects, for S, T and X; Kennedy
(2023), Towards optimal doubly robust estimation of heterogeneous causal effects, for DR.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ml.response.learners import Kind, Learner, learner_from_state

KINDS = ("s", "t", "x", "dr")
_LINEAR = "linear "
#: Each of the four with boosted trees, and with linear models.
CHALLENGERS = (*KINDS, *(_LINEAR + kind for kind in KINDS))
_EXPOSED = "is exposed"
_PROPENSITY_BOUNDS = (0.05, 0.95)


@dataclass(frozen=True)
class LearnedEffect:
    """A fitted learner of effects.

    Attributes:
        kind: "s", "t", "x" or "dr".
        learners: s: of the outcome; t: outcome of the exposed, of the others; x: effect of both; dr: of the effect.
        share_exposed: weight of the second of the x-learner's two answers.
    """

    kind: str
    learners: tuple[Learner, ...]
    share_exposed: float

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the difference an event makes to each row, (rows,), on the scale of the outcome."""
        if self.kind == "s":
            both = [self.learners[0].predict(frame.assign(**{_EXPOSED: value})) for value in (1.0, 0.0)]
            return both[0] - both[1]
        answers = [learner.predict(frame) for learner in self.learners]
        if self.kind == "t":
            return answers[0] - answers[1]
        if self.kind == "x":
            return (1 - self.share_exposed) * answers[0] + self.share_exposed * answers[1]
        return answers[0]

    def to_state(self) -> dict[str, Any]:
        """Return everything learned as arrays, JSON values and model bytes."""
        learners = [learner.to_state() for learner in self.learners]
        return {"kind": self.kind, "learners": learners, "share_exposed": self.share_exposed}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "LearnedEffect":
        """Rebuild from `to_state`."""
        return cls(
            state["kind"], tuple(learner_from_state(part) for part in state["learners"]), float(state["share_exposed"])
        )


def fit_effect(
    kind: str,
    frame: pd.DataFrame,
    outcome: np.ndarray,
    is_exposed: np.ndarray,
    propensity: np.ndarray,
    expected: np.ndarray,
    outcome_kind: Kind,
    base: Callable[[Kind], Learner],
) -> LearnedEffect:
    """Fit one of `KINDS`.

    Args:
        kind: which.
        frame: features, (rows, features).
        outcome: outcome of each row, (rows,).
        is_exposed: bool, (rows,).
        propensity: chance of being exposed, (rows,).
        expected: outcome expected if left alone, by a model that has not seen the user, (rows,).
        outcome_kind: kind of the outcome, "chance", "amount" or "difference".
        base: gives a fresh learner of a kind.
    """
    exposed, others = np.flatnonzero(is_exposed), np.flatnonzero(~is_exposed)
    share = float(is_exposed.mean())
    if kind == "s":
        marked = frame.assign(**{_EXPOSED: is_exposed.astype(float)})
        return LearnedEffect(kind, (base(outcome_kind).fit(marked, outcome),), share)
    of_exposed = base(outcome_kind).fit(frame.iloc[exposed], outcome[exposed])
    if kind == "t":
        return LearnedEffect(kind, (of_exposed, base(outcome_kind).fit(frame.iloc[others], outcome[others])), share)
    invited = of_exposed.predict(frame)
    if kind == "x":
        # Each arm's rows are held against what the other arm's model expects of them.
        first = base("difference").fit(frame.iloc[exposed], (outcome - expected)[exposed])
        second = base("difference").fit(frame.iloc[others], (invited - outcome)[others])
        return LearnedEffect(kind, (first, second), share)
    chance = np.clip(propensity, *_PROPENSITY_BOUNDS)
    residual = np.where(is_exposed, (outcome - invited) / chance, -(outcome - expected) / (1 - chance))
    return LearnedEffect(kind, (base("difference").fit(frame, invited - expected + residual),), share)
