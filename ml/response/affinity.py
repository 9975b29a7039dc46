"""Which users take to which type of event: learned from invitations to users who were active.

Few inactive users return, so an experiment says little on who is moved by what. But active users are invited far more
often, and take part or not. What their answers say about a taste for a type is carried over to inactive users as one
feature; how far it moves returns is then learned from the randomised rows like any other slope. So a taste that means
nothing for returns costs one slope that vanishes.
"""

import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pandas as pd

from ml.response.examples import Examples
from ml.response.slopes import GroupedSlopes, fit_slopes
from ml.response.summary import FeatureSummary

# The feature: log odds of taking part beyond the mean of all.
AFFINITY = "affinity_to_event_type"
MINIMUM_ROWS = 500
MINIMUM_OF_EACH = 50
# Features in which active and inactive users hardly overlap (days since the last activity) cannot be carried over:
# largest distance of the two distributions (Kolmogorov and Smirnov).
_LARGEST_DISTANCE = 0.35
_ROWS = 20_000


class AffinityModel:
    """Log odds of taking part in an event of a type, from answers of active users."""

    def __init__(self) -> None:
        # By type, of the last users asked about: returns and conversions ask for the same.
        self._last: dict[str, tuple[weakref.ref[pd.DataFrame], weakref.ref[pd.DataFrame], np.ndarray]] = {}

    def fit(self, examples: Examples, inactive: Examples) -> Self:
        """Learn from exposed active users (outcome: took part), for such users as the inactive ones of `inactive`."""
        self.slopes_: GroupedSlopes | None = None
        self.summary_ = FeatureSummary()
        taken = examples.outcome.sum()
        if len(examples) < MINIMUM_ROWS or min(taken, len(examples) - taken) < MINIMUM_OF_EACH or not len(inactive):
            return self
        frame = _joined(examples.features, examples.event_features)
        some = inactive.take(np.arange(0, len(inactive), max(1, len(inactive) // _ROWS)))
        sample = _joined(some.features, some.event_features)
        apart = [
            str(name)
            for name in frame
            if name not in sample or _distance(frame[name], sample[name]) > _LARGEST_DISTANCE
        ]
        matrix = self.summary_.fit_matrix(frame, leave_out=apart)
        rate = float(examples.outcome.mean())
        self.slopes_ = fit_slopes(
            matrix,
            np.full(len(frame), np.log(rate / (1 - rate))),
            examples.outcome,
            np.ones(len(frame)),
            examples.event_types.astype(str),
            self.summary_.blocks(),
        )
        return self

    @property
    def is_known(self) -> bool:
        """Whether there were enough answers to learn from."""
        return self.slopes_ is not None

    @property
    def feature_names(self) -> frozenset[str]:
        """Names of the features that `predict` looks at, of users and towards types."""
        return frozenset() if self.slopes_ is None else frozenset(self.summary_.encoder_.names_)

    def predict(self, features: pd.DataFrame, event_features: pd.DataFrame, event_type: str) -> np.ndarray:
        """Return the affinity of users to a type, (rows,); 0 for all where nothing is known."""
        if self.slopes_ is None:
            return np.zeros(len(features))
        known = self._last.get(event_type)
        if known is not None and known[0]() is features and known[1]() is event_features:
            return known[2]
        columns = self.summary_.to_columns_of(features, event_features)
        affinity = self.slopes_.predict_mean(columns, event_type)
        self._last[event_type] = weakref.ref(features), weakref.ref(event_features), affinity
        return affinity

    def add_to(self, features: pd.DataFrame, event_features: pd.DataFrame, event_type: str) -> pd.DataFrame:
        """Return the features towards a type with the affinity beside them."""
        if self.slopes_ is None:
            return event_features
        return event_features.assign(**{AFFINITY: self.predict(features, event_features, event_type)})

    def add_to_examples(self, examples: Examples) -> Examples:
        """Return examples with the affinity among their features towards the type; missing where there is no event."""
        if self.slopes_ is None:
            return examples
        affinity = np.full(len(examples), np.nan)
        for name in sorted({str(name) for name in examples.event_types} - {""}):
            rows = np.flatnonzero(examples.event_types == name)
            part = examples.take(rows)
            affinity[rows] = self.predict(part.features, part.event_features, name)
        return replace(examples, event_features=examples.event_features.assign(**{AFFINITY: affinity}))

    def to_state(self) -> dict[str, Any]:
        """Return everything learned as arrays and JSON values."""
        if self.slopes_ is None:
            return {"is_known": False}
        return {"is_known": True, "summary": self.summary_.to_state(), "slopes": self.slopes_.to_state()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild from `to_state`."""
        model = cls()
        model.slopes_, model.summary_ = None, FeatureSummary()
        if state["is_known"]:
            model.summary_ = FeatureSummary.from_state(state["summary"])
            model.slopes_ = GroupedSlopes.from_state(state["slopes"])
        return model


def _joined(features: pd.DataFrame, event_features: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([features.reset_index(drop=True), event_features.reset_index(drop=True)], axis=1)


def _distance(active: pd.Series, inactive: pd.Series) -> float:
    """Largest distance between the two distributions of a number, gaps in it counted as smallest; 0 for words."""
    if not (pd.api.types.is_numeric_dtype(active) or pd.api.types.is_bool_dtype(active)):
        return 0.0
    left, right = (
        np.sort(np.nan_to_num(column.to_numpy(dtype=np.float64, na_value=np.nan), nan=-np.inf))
        for column in (active, inactive)
    )
    values = np.unique(np.concatenate([left, right]))
    shares = [np.searchsorted(column, values, side="right") / len(column) for column in (left, right)]
    return float(np.abs(shares[0] - shares[1]).max())
