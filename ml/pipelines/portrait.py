"""Draws who the users of a date are and what they are worth, from what scoring says of them batch by batch."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ml.pipelines.pictures import Picture
from ml.pipelines.sample import UserSample
from ml.segmentation import SegmentProfile, UserSegmenter
from ml.segmentation.figures import profile_data, profile_figure, scatter_data, scatter_figure
from warehouse.door import Warehouse

__all__ = ["Portrait"]

# More points than this make a scatter black, and a file large.
_POINTS = 3_000


class Portrait:
    """Gathers what the pictures of segments and value show; of a user it keeps a score, and of some a point.

    Args:
        segmenter: the artefact that named the segments; None draws no segments.
    """

    def __init__(self, segmenter: UserSegmenter | None) -> None:
        self._segmenter = segmenter
        self._scores: list[np.ndarray] = []
        self._points = UserSample(_POINTS)

    def add(self, features: pd.DataFrame, segments: np.ndarray, value_score: np.ndarray) -> None:
        """Take in a batch of users: features (index user_id), segments and value scores, in the same order."""
        self._scores.append(np.asarray(value_score, dtype=np.float32))
        if self._segmenter is None or not len(features):
            return
        user_ids = features.index.to_numpy(dtype=object)
        rows = self._points.rows_to_offer(user_ids)
        if rows.size:
            self._points.add(user_ids[rows], scatter_data(self._segmenter, features.iloc[rows], segments[rows]))

    def draw(self, warehouse: Warehouse, profiles: Sequence[SegmentProfile]) -> list[Picture]:
        """Draw the users who were taken in, down to the last dot; nothing where there is nobody to draw.

        `profiles` are those of their segments.
        """
        scores = np.concatenate(self._scores) if self._scores else np.zeros(0)
        if not scores.size:
            return []
        from ml.value.figures import distribution_data, distribution_figure, gain_data, gain_figure

        # All payments of a warehouse are in one currency; landing refuses a second one.
        currency = str(warehouse.scalar("select currency from raw.payments limit 1") or "")
        values, gain = distribution_data(scores), gain_data(scores)
        distribution = distribution_figure(values, currency=currency)
        pictures = [
            Picture("value_distribution", "Value scores of the users", distribution, values),
            Picture("value_gain", "What inviting the best first brings", gain_figure(gain, currency=currency), gain),
        ]
        points = self._points.rows
        if len(points) and profiles:
            bars = profile_data(profiles)
            pictures += [
                Picture("segment_scatter", "Users by segment in two components", scatter_figure(points), points),
                Picture("segment_profiles", "What sets the segments apart", profile_figure(bars), bars),
            ]
        return [picture.drawn() for picture in pictures]
