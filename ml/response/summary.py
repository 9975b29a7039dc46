"""Few columns that say what many features say: features that move together become one."""

import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd

from ml.response.encoding import FeatureEncoder

# Columns whose correlation exceeds this say the same.
_ALIKE = 0.7
# A flag that is set for fewer than one in 2,500 rows tells nobody apart.
_SMALLEST_DEVIATION = 0.02
_CLIP = 4.0
# Correlations of so many rows are known well enough.
_ROWS = 20_000


class FeatureSummary:
    """Encodes features as few standardised columns: the means of columns that are alike.

    Args:
        singles: numeric features that keep a column of their own, which stands first in this order.
    """

    def __init__(self, singles: Sequence[str] = ()) -> None:
        self.singles = tuple(singles)
        # User features of the last call and what they add to the columns: users are asked about one type after another.
        self._last: tuple[weakref.ref[pd.DataFrame], frozenset[str], np.ndarray] | None = None

    def fit(self, frame: pd.DataFrame, leave_out: Sequence[str] = ()) -> Self:
        """Learn encoding and groups of columns from a frame (rows, features), without the features `leave_out`."""
        self.fit_matrix(frame, leave_out)
        return self

    def fit_matrix(self, frame: pd.DataFrame, leave_out: Sequence[str] = ()) -> np.ndarray:
        """Fit, and return what `to_matrix` gives for the same frame."""
        self.encoder_ = FeatureEncoder().fit(frame[[name for name in frame if name not in set(leave_out)]])
        matrix = self.encoder_.to_matrix(frame)
        self.means_ = matrix.mean(axis=0)
        deviations = matrix.std(axis=0)
        self.deviations_ = np.maximum(deviations, 1e-9)
        names = self.encoder_.column_names()
        singles = [names.index(name) for name in self.singles if name in self.encoder_.numeric_names_]
        kept = np.flatnonzero(deviations > _SMALLEST_DEVIATION)
        kept = kept[~np.isin(kept, singles)]
        sample = matrix[:: max(1, len(matrix) // _ROWS), :][:, kept]
        groups = [(np.array([single]), np.ones(1)) for single in singles]
        groups += [(kept[members], signs) for members, signs in _alike(sample)]
        self.members_ = np.concatenate([members for members, _ in groups]) if groups else np.zeros(0, dtype=np.int64)
        self.signs_ = np.concatenate([signs / len(signs) for _, signs in groups]) if groups else np.zeros(0)
        self.starts_ = np.cumsum([0, *(len(members) for members, _ in groups)])[:-1].astype(np.int64)
        combined = self._combined(matrix)
        self.scales_ = np.maximum(combined.std(axis=0), 1e-9)
        self.single_count_ = len(singles)
        return self._scaled(combined)

    def to_matrix(self, frame: pd.DataFrame) -> np.ndarray:
        """Encode a frame: float64 of shape (rows, columns), standardised and within four deviations."""
        return self._scaled(self._combined(self.encoder_.to_matrix(frame)))

    def to_matrix_of(self, features: pd.DataFrame, event_features: pd.DataFrame) -> np.ndarray:
        """Encode user features with the features of the same users towards a type, as `to_matrix` of both together.

        What the user features say is remembered as long as the same frame is given, because to encode them anew for
        each type of event would take most of the time of scoring.
        """
        towards = frozenset(str(name) for name in event_features)
        last = self._last
        if last is None or last[0]() is not features or last[1] != towards:
            alone = [name for name in self.encoder_.names_ if name not in towards]
            last = weakref.ref(features), towards, self._contribution(features, alone)
            self._last = last
        beside = [name for name in self.encoder_.names_ if name in towards]
        return self._scaled(last[2] + self._contribution(event_features, beside) if beside else last[2])

    def column_names(self) -> list[str]:
        """Return the names of the columns: that of the feature, or of the first of a group and how many more."""
        names = self.encoder_.column_names()
        members = np.split(self.members_, self.starts_[1:]) if len(self.starts_) else []
        return [names[first] + (f" and {len(rest)} more" if rest else "") for first, *rest in members]

    def blocks(self) -> list[int]:
        """Return the block of each column for a shared prior: single ones have their own, the rest share one."""
        return [*range(self.single_count_), *[self.single_count_] * (len(self.starts_) - self.single_count_)]

    def to_state(self) -> dict[str, Any]:
        """Return everything learned as arrays and JSON values."""
        return {
            "singles": list(self.singles),
            "encoder": self.encoder_.to_state(),
            "means": self.means_,
            "deviations": self.deviations_,
            "members": self.members_,
            "signs": self.signs_,
            "starts": self.starts_,
            "scales": self.scales_,
            "single_count": self.single_count_,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild from `to_state`."""
        summary = cls(state["singles"])
        summary.encoder_ = FeatureEncoder.from_state(state["encoder"])
        summary.means_, summary.deviations_ = state["means"], state["deviations"]
        summary.members_, summary.starts_ = state["members"].astype(np.int64), state["starts"].astype(np.int64)
        summary.signs_, summary.scales_ = state["signs"], state["scales"]
        summary.single_count_ = int(state["single_count"])
        return summary

    def _contribution(self, frame: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
        """What some of the features add to each column before scaling."""
        part = self.encoder_.part(names)
        where = {name: position for position, name in enumerate(self.encoder_.column_names())}
        place = np.full(len(where), -1)
        place[[where[name] for name in part.column_names()]] = np.arange(len(part.column_names()))
        column_of = np.repeat(np.arange(len(self.starts_)), np.diff(np.append(self.starts_, len(self.members_))))
        known = place[self.members_] >= 0
        added = np.zeros((len(frame), len(self.starts_)))
        if known.any():
            members, columns = self.members_[known], column_of[known]
            matrix = part.to_matrix(frame)[:, place[members]]
            standardised = (matrix - self.means_[members]) * (self.signs_[known] / self.deviations_[members])
            starts = np.flatnonzero(np.diff(columns, prepend=-1))
            added[:, columns[starts]] = np.add.reduceat(standardised, starts, axis=1)
        return added

    def _scaled(self, combined: np.ndarray) -> np.ndarray:
        return np.clip(combined / self.scales_, -_CLIP, _CLIP)

    def _combined(self, matrix: np.ndarray) -> np.ndarray:
        if len(self.starts_) == 0:
            return np.zeros((len(matrix), 0))
        factors = self.signs_ / self.deviations_[self.members_]
        standardised = (matrix[:, self.members_] - self.means_[self.members_]) * factors
        return np.add.reduceat(standardised, self.starts_, axis=1)


def _alike(matrix: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Group columns greedily, the one with most others alike first; return members and their signs."""
    if matrix.shape[1] == 0:
        return []
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.nan_to_num(np.atleast_2d(np.corrcoef(matrix, rowvar=False)))
    np.fill_diagonal(correlation, 1.0)
    left = np.arange(matrix.shape[1])
    groups = []
    while len(left):
        near = np.abs(correlation[np.ix_(left, left)]) > _ALIKE
        centre = left[int(near.sum(axis=1).argmax())]
        members = left[np.abs(correlation[centre, left]) > _ALIKE]
        groups.append((members, np.where(correlation[centre, members] < 0, -1.0, 1.0)))
        left = left[~np.isin(left, members)]
    return groups
