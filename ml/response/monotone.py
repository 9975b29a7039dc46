"""Gradient boosting that may not contradict what everybody knows: who was here later, more often or paid more."""

import re
from collections.abc import Iterable
from typing import Any, ClassVar

from ml.response.learners import BoostedLearner

# More of these must not lower the expectation ...
_RAISING = re.compile(
    r"(level_)?(sessions|active_days|interactions|payments|paying_days)_(count|amount|duration_seconds)(_life|_\d+d)?"
)
# ... and more of these must not raise it.
_LOWERING = re.compile(r"days_since_last_(activity|session|interaction|payment)")


class MonotoneLearner(BoostedLearner):
    """CatBoost in which recent, frequent and paid activity can only raise the expectation, all else being equal.

    With few rows the constraint keeps the trees from learning noise; selection decides whether it fits the data.
    """

    name: ClassVar[str] = "monotone"
    complexity: ClassVar[int] = 2

    def _constraints(self) -> dict[str, Any]:
        # With constraints each further step of a leaf costs as much as the tree; one is enough.
        return {"monotone_constraints": directions(self.encoder_.numeric_names_), "leaf_estimation_iterations": 1}


def directions(features: Iterable[str]) -> dict[str, int]:
    """Return 1 for features of which more may only raise the expectation, -1 for the opposite; no others."""
    found = {name: 1 for name in features if _RAISING.fullmatch(name)}
    return found | {name: -1 for name in features if _LOWERING.fullmatch(name)}
