"""From feature columns to a space in which distance means something; everything learned is part of the artefact."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ml.segmentation.errors import SegmentationError
from ml.segmentation.naming import GAP, theme_of

# Values further from the quartiles than this many times the distance between them are moved to the edge.
FENCE = 3.0
# Where the quartiles are equal, values in these shares of the users at either end are moved to the edge.
TAIL_SHARE = 0.005
# A column that is more skewed than this is taken to logarithms: money and counts, not ages and shares.
SKEWNESS_OF_LOGARITHMS = 2.0
# A gap that is common, but not everywhere, says something itself ("never paid").
GAP_SHARES = (0.02, 0.98)
# Columns that are more alike than this share one vote: windows of 28, 90 and 365 days are one topic, not three.
ALIKE = 0.9
# A column of two values splits the users so cleanly that at full weight no distance would see anything else.
TWO_VALUED_WEIGHT = 0.5
# At most so many main components make the space of distances.
MOST_COMPONENTS = 6
_NOT_A_FEATURE = ("_id", "_at", "_date")
_CHUNK_ROWS = 100_000
_LARGEST = 1e30


class FeatureScaler:
    """Fills gaps, tames outliers, standardises and weighs columns by what it learned from the users of `fit`.

    A user's row is transformed on its own: who stands beside it changes nothing.

    Learned names:
        columns_: names of the columns used, in order (constant and empty ones are left out).
        spread_: names of the standardised dimensions: columns, then gap indicators "<column> is missing".
        weight_: what each of them counts.
        directions_: the main components, shape (dimensions, components): those with more than their share of the
            variance, two to six of them. What only one column in a hundred says is noise to a distance.
    """

    def __init__(self) -> None:
        self.columns_: list[str] = []
        self.gap_columns_: list[str] = []
        self.fill_ = np.empty(0)
        self.unit_ = np.empty(0)
        self.lower_ = np.empty(0)
        self.upper_ = np.empty(0)
        self.mean_ = np.empty(0)
        self.deviation_ = np.empty(0)
        self.weight_ = np.empty(0)
        self.directions_ = np.empty((0, 0))

    @property
    def spread_(self) -> list[str]:
        """Names of the dimensions of the scaled space."""
        return self.columns_ + [f"{column}{GAP}" for column in self.gap_columns_]

    def fit(self, frame: pd.DataFrame) -> "FeatureScaler":
        """Learn from users (rows) and their features (columns); text columns, keys and times are passed over."""
        candidates = sorted(
            str(name) for name in frame.columns if not str(name).endswith(_NOT_A_FEATURE) and _is_numeric(frame[name])
        )
        raw = numeric_block(frame, candidates)
        kept: list[int] = []
        learned: list[tuple[float, ...]] = []
        for position in range(len(candidates)):
            values = raw[:, position]
            values = values[~np.isnan(values)]
            if values.size == 0:
                continue
            figures = _learn_column(values)
            if figures is not None:
                kept.append(position)
                learned.append(figures)
        self.columns_ = [candidates[position] for position in kept]
        table = np.array(learned, dtype=float).reshape(len(kept), 6)
        self.fill_, self.unit_, self.lower_, self.upper_, self.mean_, self.deviation_ = table.T.copy()
        gaps = np.isnan(raw).mean(axis=0) if len(raw) else np.zeros(len(candidates))
        self.gap_columns_ = [
            candidates[position]
            for position in range(len(candidates))
            if GAP_SHARES[0] <= gaps[position] <= GAP_SHARES[1] and len(raw) > 1
        ]
        gap_means = np.array([gaps[candidates.index(column)] for column in self.gap_columns_])
        self.mean_ = np.concatenate([self.mean_, gap_means])
        self.deviation_ = np.concatenate([self.deviation_, np.sqrt(gap_means * (1 - gap_means))])
        self.weight_ = np.ones(len(self.spread_))
        standardised = self.standardise(frame)
        self.weight_ = _weights_of_alike_columns(standardised)
        two_valued = [len(np.unique(standardised[:, position])) <= 2 for position in range(len(self.spread_))]
        self.weight_[two_valued] *= TWO_VALUED_WEIGHT
        self.weight_ *= _weights_of_themes(self.spread_, self.weight_)
        self.directions_ = _main_directions(standardised * self.weight_)
        return self

    def standardise(self, frame: pd.DataFrame) -> np.ndarray:
        """Scaled values before weighting, shape (users, dimensions): standard deviations from the mean of the fit."""
        missing = [column for column in self.columns_ + self.gap_columns_ if column not in frame.columns]
        if missing:
            raise SegmentationError(
                f"Bring back the columns {', '.join(missing)} or fit the segments again: they were learned with them."
            )
        raw = numeric_block(frame, self.columns_)
        np.copyto(raw, self.fill_, where=np.isnan(raw))
        width = len(self.columns_)
        in_logarithms = np.flatnonzero(self.unit_ > 0)
        if in_logarithms.size:
            raw[:, in_logarithms] = _signed_logarithm(raw[:, in_logarithms], self.unit_[in_logarithms])
        np.clip(raw, self.lower_, self.upper_, out=raw)
        raw -= self.mean_[:width]
        raw /= self.deviation_[:width]
        if not self.gap_columns_:
            return raw
        standardised = np.empty((len(raw), len(self.spread_)), order="F")
        standardised[:, :width] = raw
        gaps = standardised[:, width:]
        gaps[:] = np.isnan(numeric_block(frame, self.gap_columns_))
        gaps -= self.mean_[width:]
        gaps /= self.deviation_[width:]
        return standardised

    def transform(self, frame: pd.DataFrame) -> np.ndarray:
        """The space in which distances are taken, shape (users, components)."""
        return np.asarray((self.standardise(frame) * self.weight_) @ self.directions_)

    def chunks(self, frame: pd.DataFrame) -> Iterator[tuple[slice, np.ndarray]]:
        """Transform users a part at a time, so that memory does not grow with their number."""
        for start in range(0, len(frame), _CHUNK_ROWS):
            rows = slice(start, min(start + _CHUNK_ROWS, len(frame)))
            yield rows, self.transform(frame.iloc[rows])

    def to_state(self) -> dict[str, Any]:
        """Everything learned, as arrays and JSON values."""
        names = ("fill_", "unit_", "lower_", "upper_", "mean_", "deviation_", "weight_", "directions_")
        return {
            "columns": list(self.columns_),
            "gap_columns": list(self.gap_columns_),
            **{name.rstrip("_"): np.asarray(getattr(self, name)) for name in names},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "FeatureScaler":
        """Rebuild from `to_state`."""
        scaler = cls()
        scaler.columns_ = list(state["columns"])
        scaler.gap_columns_ = list(state["gap_columns"])
        for name in ("fill", "unit", "lower", "upper", "mean", "deviation", "weight", "directions"):
            setattr(scaler, f"{name}_", np.asarray(state[name], dtype=float))
        return scaler


def numeric_block(frame: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """Columns as float64 of shape (users, columns); what is missing or infinite is NaN."""
    chosen = frame.loc[:, columns]
    if (chosen.dtypes == np.float64).all():
        block = chosen.to_numpy(copy=True)
    else:
        block = np.empty((len(frame), len(columns)), order="F")
        for position, column in enumerate(columns):
            block[:, position] = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    np.copyto(block, np.nan, where=np.isinf(block))
    # Squares and cubes of what is learned must stay finite, and the tree counts in single precision.
    return np.clip(block, -_LARGEST, _LARGEST, out=block)


def _is_numeric(column: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype))


def _signed_logarithm(values: np.ndarray, unit: np.ndarray | float) -> np.ndarray:
    return np.asarray(np.sign(values) * np.log1p(np.abs(values) / unit))


def _learn_column(values: np.ndarray) -> tuple[float, ...] | None:
    """Fill value, unit of the logarithm (0: none), edges, mean and deviation; None for a column that says nothing."""
    fill = float(np.median(values))
    unit = 0.0
    lower, upper = _edges(values)
    clipped = np.clip(values, lower, upper)
    deviation = clipped.std()
    skewness = ((clipped - clipped.mean()) ** 3).mean() / deviation**3 if deviation > 0 else 0.0
    beyond = np.abs(values - np.median(values)).max() > 100 * max(deviation, np.finfo(float).tiny)
    if abs(skewness) > SKEWNESS_OF_LOGARITHMS or beyond:
        # The unit makes the logarithm indifferent to currencies. Most non-zero values lie well above it, so that small
        # spenders stand between those who spend nothing and the big ones, and not with the former.
        amounts = np.abs(values[values != 0])
        if amounts.size:
            unit = float(np.quantile(amounts, 0.1))
            logarithms = _signed_logarithm(values, unit)
            lower, upper = _edges(logarithms)
            clipped = np.clip(logarithms, lower, upper)
            deviation = clipped.std()
    if not np.isfinite(deviation) or deviation <= 1e-9 * max(1.0, float(np.abs(clipped).max())):
        return None
    return fill, unit, lower, upper, float(clipped.mean()), float(deviation)


def _edges(values: np.ndarray) -> tuple[float, float]:
    lower, first, third, upper = np.quantile(values, [TAIL_SHARE, 0.25, 0.75, 1 - TAIL_SHARE])
    distance = third - first
    if distance > 0:
        return float(first - FENCE * distance), float(third + FENCE * distance)
    # Most values are the same: quartiles say nothing, and the tails are cut by share.
    return float(lower), float(upper)


def _weights_of_alike_columns(standardised: np.ndarray) -> np.ndarray:
    """One vote a group of alike columns: each of its members counts 1 / sqrt(size of the group)."""
    dimensions = standardised.shape[1]
    if dimensions < 2 or len(standardised) < 3:
        return np.ones(dimensions)
    centred = standardised - standardised.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    length[length == 0] = 1.0
    alike = np.abs(centred.T @ centred / np.outer(length, length)) > ALIKE
    np.fill_diagonal(alike, True)
    group = np.full(dimensions, -1)
    for position in range(dimensions):
        if group[position] < 0:
            group[alike[position] & (group < 0)] = position
    sizes = np.bincount(group, minlength=dimensions)
    return np.asarray(1.0 / np.sqrt(sizes[group]))


def _weights_of_themes(names: list[str], weight: np.ndarray) -> np.ndarray:
    """At most one vote a theme: ten columns about payments do not count ten times as much as one about friends."""
    themes = np.array([theme_of(name).high for name in names], dtype=object)
    votes = np.array([(weight[themes == theme] ** 2).sum() for theme in themes])
    return 1.0 / np.sqrt(np.maximum(votes, 1.0))


def _main_directions(points: np.ndarray) -> np.ndarray:
    """Main components as columns; signs are fixed so that pictures do not flip from one fit to the next."""
    dimensions = points.shape[1]
    if dimensions < 2 or len(points) < 3:
        return np.eye(dimensions)
    variances, directions = np.linalg.eigh(np.cov(points, rowvar=False))
    variances, directions = variances[::-1], directions[:, ::-1]
    count = int(np.clip((variances > variances.mean()).sum(), min(2, dimensions), MOST_COMPONENTS))
    directions = directions[:, :count]
    largest = directions[np.abs(directions).argmax(axis=0), np.arange(count)]
    return np.asarray(directions * np.where(largest < 0, -1.0, 1.0))
