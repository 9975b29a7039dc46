"""RFM segments: recency, frequency and money in fifths - the plain benchmark that marketing knows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ml.segmentation.errors import SegmentationError

# Rows: fifth of recency from 1 (long ago) to 5; columns: fifth of frequency and money from 1 (low) to 5.
_GRID = (
    ("Lost", "Hibernating", "At risk", "Cannot lose them", "Cannot lose them"),
    ("Hibernating", "Hibernating", "At risk", "At risk", "At risk"),
    ("About to sleep", "About to sleep", "Need attention", "Loyal", "Loyal"),
    ("Promising", "Potential loyalists", "Potential loyalists", "Loyal", "Loyal"),
    ("New", "Potential loyalists", "Potential loyalists", "Champions", "Champions"),
)
RFM_SEGMENTS = tuple(sorted({name for row in _GRID for name in row}))
NEVER_PAID = "Never paid"


class RfmSegmenter:
    """Scores recency, frequency and money from 1 to 5 and names the combination.

    Learned names:
        edges_: upper edges of the first four fifths of each figure among payers, shape (3, 4).
    """

    def __init__(self) -> None:
        self.edges_ = np.empty((0, 0))

    def fit(self, recency_days: ArrayLike, frequency: ArrayLike, amount: ArrayLike) -> "RfmSegmenter":
        """Learn the fifths.

        Args:
            recency_days: days since the last payment, NaN for who never paid; shape (users,).
            frequency: number of payments.
            amount: money paid.
        """
        table = _figures(recency_days, frequency, amount)
        payers = table[~np.isnan(table).any(axis=1)]
        if not len(payers):
            self.edges_ = np.zeros((3, 4))
            return self
        self.edges_ = np.quantile(payers, [0.2, 0.4, 0.6, 0.8], axis=0).T
        return self

    def scores(self, recency_days: ArrayLike, frequency: ArrayLike, amount: ArrayLike) -> pd.DataFrame:
        """Scores from 1 to 5 in the columns recency, frequency and amount (0 for who never paid)."""
        if self.edges_.size == 0:
            raise SegmentationError("Call fit first: nothing was learned yet.")
        table = _figures(recency_days, frequency, amount)
        never = np.isnan(table).any(axis=1)
        fifths = np.stack(
            [1 + np.searchsorted(self.edges_[column], table[:, column], side="left") for column in range(3)], axis=1
        )
        # The most recent are the best.
        fifths[:, 0] = 6 - fifths[:, 0]
        fifths[never] = 0
        return pd.DataFrame(fifths, columns=["recency", "frequency", "amount"])

    def predict(self, recency_days: ArrayLike, frequency: ArrayLike, amount: ArrayLike) -> np.ndarray:
        """Name of each user's segment, shape (users,), dtype object."""
        fifths = self.scores(recency_days, frequency, amount).to_numpy()
        worth = (fifths[:, 1] + fifths[:, 2] + 1) // 2
        grid = np.array(_GRID, dtype=object)
        names = grid[np.maximum(fifths[:, 0], 1) - 1, np.maximum(worth, 1) - 1]
        names[fifths[:, 0] == 0] = NEVER_PAID
        return np.asarray(names)

    def to_state(self) -> dict[str, Any]:
        """Everything learned."""
        return {"edges": self.edges_}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "RfmSegmenter":
        """Rebuild from `to_state`."""
        segmenter = cls()
        segmenter.edges_ = np.asarray(state["edges"], dtype=float)
        return segmenter


def _figures(recency_days: ArrayLike, frequency: ArrayLike, amount: ArrayLike) -> np.ndarray:
    columns = [np.atleast_1d(np.asarray(column, dtype=float)) for column in (recency_days, frequency, amount)]
    if len({column.shape for column in columns}) > 1:
        raise SegmentationError("Give recency, frequency and amount for the same users.")
    table = np.stack(columns, axis=1)
    table[~(table[:, 1] > 0)] = np.nan
    return table
