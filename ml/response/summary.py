"""Few columns that say what many features say: features that move together become one."""

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
# In standard deviations from the mean: what a bent column may do anew from here on.
BENDS = (-0.5, 0.5, 1.5)


@dataclass(frozen=True)
class SharedColumns:
    """Columns of users towards one type of event: those that are the same for every type, and the type's own.

    Attributes:
        shared: float64, (rows, columns), 0 in the columns of `own`.
        own: positions of the columns that features towards the type move.
        values: float64, (rows, len(own)).
    """

    shared: np.ndarray
    own: np.ndarray
    values: np.ndarray

    def column(self, position: int) -> np.ndarray:
        """One column, (rows,)."""
        found = np.flatnonzero(self.own == position)
        return self.values[:, found[0]] if len(found) else self.shared[:, position]

    def take(self, rows: np.ndarray | slice) -> "SharedColumns":
        """The columns of some users."""
        return SharedColumns(self.shared[rows], self.own, self.values[rows])

    def matrix(self) -> np.ndarray:
        """All columns together, float64 of shape (rows, columns)."""
        matrix = self.shared.copy()
        matrix[:, self.own] = self.values
        return matrix


@dataclass(frozen=True)
class _Base:
    """What user features say of the columns, whatever the type of event: kept for the next type.

    Attributes:
        features: the frame it was computed from.
        towards: names of the features that were not looked at.
        beside: those of them that the summary uses.
        shared: see `SharedColumns`.
        own: see `SharedColumns`.
        of_own: what user features add to those columns before scaling, (rows, len(own)).
    """

    features: weakref.ref[pd.DataFrame]
    towards: frozenset[str]
    beside: tuple[str, ...]
    shared: np.ndarray
    own: np.ndarray
    of_own: np.ndarray


class FeatureSummary:
    """Encodes features as few standardised columns: the means of columns that are alike.

    Args:
        singles: numeric features that keep a column of their own, which stands first in this order.
        bends: places at which slopes of single columns may change, in standard deviations from the mean: for each a
            column max(single - place, 0) stands behind all others (a linear spline: Hastie, Tibshirani and Friedman
            2009, section 5.2).
    """

    def __init__(self, singles: Sequence[str] = (), bends: Sequence[float] = ()) -> None:
        self.singles = tuple(singles)
        self.bends = tuple(bends)
        # Of the last call: users are asked about one type after another.
        self._last: _Base | None = None

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
        self.straight_count_ = len(groups)
        groups += [(np.array([single]), np.ones(1)) for single in singles for _ in self.bends]
        self.places_ = _places(self.straight_count_, len(singles), self.bends)
        self.members_ = np.concatenate([members for members, _ in groups]) if groups else np.zeros(0, dtype=np.int64)
        self.signs_ = np.concatenate([signs / len(signs) for _, signs in groups]) if groups else np.zeros(0)
        self.starts_ = np.cumsum([0, *(len(members) for members, _ in groups)])[:-1].astype(np.int64)
        combined = self._combined(matrix)
        self.scales_ = np.maximum(combined.std(axis=0), 1e-9)
        self.single_count_ = len(singles)
        return self._scaled(combined)

    def to_matrix(self, frame: pd.DataFrame) -> np.ndarray:
        """Encode a frame: float64 of shape (rows, columns), standardised, within four deviations, then bent."""
        return self._scaled(self._combined(self.encoder_.to_matrix(frame)))

    def to_matrix_of(self, features: pd.DataFrame, event_features: pd.DataFrame) -> np.ndarray:
        """Encode user features with those of the same users towards a type, as `to_matrix` of both together."""
        return self.to_columns_of(features, event_features).matrix()

    def to_columns_of(self, features: pd.DataFrame, event_features: pd.DataFrame) -> SharedColumns:
        """Encode as `to_matrix_of`, the columns that are the same for every type apart.

        What the user features say is remembered as long as the same frame is given, because to encode them anew for
        each type of event would take most of the time of scoring.
        """
        towards = frozenset(str(name) for name in event_features)
        base = self._last
        if base is None or base.features() is not features or base.towards != towards:
            base = self._base(features, towards)
            self._last = base
        values = base.of_own + self._contribution(event_features, base.beside, base.own)
        return SharedColumns(base.shared, base.own, self._scaled(values, base.own))

    def parts(self, frame: pd.DataFrame, slopes: np.ndarray) -> np.ndarray:
        """Return what moves `to_matrix(frame) @ slopes` by columns of the encoding, (rows, encoded columns).

        What a column of the summary adds stands whole at the member that moved it most: split among all that say the
        same it would look like many small reasons.
        """
        matrix = self.encoder_.to_matrix(frame)
        parts = np.zeros_like(matrix)
        rows = np.arange(len(matrix))
        for column, added in enumerate(self.to_matrix(frame).T * slopes[:, np.newaxis]):
            end = self.starts_[column + 1] if column + 1 < len(self.starts_) else len(self.members_)
            group = slice(self.starts_[column], end)
            members, factors = self.members_[group], self.signs_[group] / self.deviations_[self.members_[group]]
            moved = (matrix[:, members] - self.means_[members]) * factors * slopes[column]
            strongest = members[np.argmax(moved * np.sign(added)[:, np.newaxis], axis=1)]
            parts[rows, strongest] += added
        return parts

    def column_names(self) -> list[str]:
        """Return the names of the columns: that of the feature, or of the first of a group and how many more."""
        names = self.encoder_.column_names()
        members = np.split(self.members_, self.starts_[1:]) if len(self.starts_) else []
        called = [names[first] + (f" and {len(rest)} more" if rest else "") for first, *rest in members]
        bent = [f" from {place:g} on" if np.isfinite(place) else "" for place in self.places_]
        return [name + where for name, where in zip(called, bent, strict=True)]

    def positions_of(self, singles: Sequence[str]) -> list[int]:
        """Return the straight columns of single features, without those that the frame it was fitted on lacked."""
        known = [name for name in self.singles if name in self.encoder_.numeric_names_]
        return [known.index(name) for name in singles if name in known]

    def blocks(self) -> list[int]:
        """Return the block of each column for a shared prior.

        Single ones have their own, all bends of one share another, and the rest of the columns share one.
        """
        singles, rest = range(self.single_count_), self.straight_count_ - self.single_count_
        first = self.single_count_ + (rest > 0)
        return [*singles, *[self.single_count_] * rest, *[first + single for single in singles for _ in self.bends]]

    def to_state(self) -> dict[str, Any]:
        """Return everything learned as arrays and JSON values."""
        return {
            "singles": list(self.singles),
            "bends": list(self.bends),
            "encoder": self.encoder_.to_state(),
            "means": self.means_,
            "deviations": self.deviations_,
            "members": self.members_,
            "signs": self.signs_,
            "starts": self.starts_,
            "scales": self.scales_,
            "single_count": self.single_count_,
            "straight_count": self.straight_count_,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild from `to_state`."""
        # Versions of before slopes could bend have no bends.
        summary = cls(state["singles"], state.get("bends", ()))
        summary.encoder_ = FeatureEncoder.from_state(state["encoder"])
        summary.means_, summary.deviations_ = state["means"], state["deviations"]
        summary.members_, summary.starts_ = state["members"].astype(np.int64), state["starts"].astype(np.int64)
        summary.signs_, summary.scales_ = state["signs"], state["scales"]
        summary.single_count_ = int(state["single_count"])
        summary.straight_count_ = int(state.get("straight_count", len(summary.starts_)))
        summary.places_ = _places(summary.straight_count_, summary.single_count_, summary.bends)
        return summary

    def _base(self, features: pd.DataFrame, towards: frozenset[str]) -> _Base:
        """Encode user features without those of the names `towards`."""
        names = self.encoder_.names_
        beside = tuple(name for name in names if name in towards)
        own = np.unique(self._columns_of(beside)[1])
        combined = self._contribution(features, [name for name in names if name not in towards])
        of_own = combined[:, own]
        shared = self._scaled(combined)
        shared[:, own] = 0.0
        return _Base(weakref.ref(features), towards, beside, shared, own, of_own)

    def _columns_of(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Members that stand for some of the features, the column each belongs to, and its place in their encoding."""
        encoded = self.encoder_.part(names).column_names()
        where = {name: position for position, name in enumerate(self.encoder_.column_names())}
        place = np.full(len(where), -1)
        place[[where[name] for name in encoded]] = np.arange(len(encoded))
        column_of = np.repeat(np.arange(len(self.starts_)), np.diff(np.append(self.starts_, len(self.members_))))
        known = np.flatnonzero(place[self.members_] >= 0)
        return known, column_of[known], place[self.members_[known]]

    def _contribution(self, frame: pd.DataFrame, names: Sequence[str], among: np.ndarray | None = None) -> np.ndarray:
        """What some of the features add to each column before scaling; `among`: to these columns alone, ascending."""
        part = self.encoder_.part(names)
        known, columns, place = self._columns_of(names)
        width = len(self.starts_) if among is None else len(among)
        added = np.zeros((len(frame), width))
        if not len(known):
            return added
        members = self.members_[known]
        factors, means = self.signs_[known] / self.deviations_[members], self.means_[members]
        starts = np.flatnonzero(np.diff(columns, prepend=-1))
        sizes = np.diff(np.append(starts, len(columns)))
        target = columns[starts] if among is None else np.searchsorted(among, columns[starts])
        for rows, matrix in part.matrices(frame):
            standardised = matrix.T[place]
            standardised -= means[:, np.newaxis]
            standardised *= factors[:, np.newaxis]
            # First members, then second members of those that have any, and so on: each is one piece of memory.
            combined = standardised[starts]
            for number in range(1, int(sizes.max())):
                longer = np.flatnonzero(sizes > number)
                combined[longer] += standardised[starts[longer] + number]
            added[rows, target] = combined.T
        return added

    def _scaled(self, combined: np.ndarray, among: np.ndarray | slice = slice(None)) -> np.ndarray:
        scaled = combined / self.scales_[among]
        np.clip(scaled, -_CLIP, _CLIP, out=scaled)
        places = self.places_[among]
        for column in np.flatnonzero(np.isfinite(places)):
            scaled[:, column] = np.maximum(scaled[:, column] - places[column], 0.0)
        return scaled

    def _combined(self, matrix: np.ndarray) -> np.ndarray:
        if len(self.starts_) == 0:
            return np.zeros((len(matrix), 0))
        factors = self.signs_ / self.deviations_[self.members_]
        standardised = (matrix[:, self.members_] - self.means_[self.members_]) * factors
        return np.add.reduceat(standardised, self.starts_, axis=1)


def _places(straight: int, singles: int, bends: Sequence[float]) -> np.ndarray:
    """Where each column begins to count, (columns,): minus infinity for those that are not bent."""
    return np.array([*[-np.inf] * straight, *list(bends) * singles])


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
