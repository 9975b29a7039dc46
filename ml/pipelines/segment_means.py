"""The last resort of scoring: a user is told what past users of the same segment did."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from ml.pipelines.model import ScoringModel
from ml.pipelines.reading import TrainingRows
from ml.response import ConversionModel, OutcomeModel, ReturnModel, RevenueModel
from ml.response.learners import Kind, Learner
from ml.segmentation import UserSegmenter

__all__ = ["SegmentMeans", "with_segment_means"]

_SEGMENT = "segment"
# What is known of all users weighs as much in a segment as so many returns (or payments) would.
_OUTCOMES = 10.0


class SegmentMeans(Learner):
    """The mean outcome of each segment, drawn towards that of all; a segment never seen gets that of all.

    The mean of all counts in every segment like ten of the rarer outcome (or ten amounts), so that few rows say little.
    It is learned anew whenever it is needed and never stored.

    Args:
        kind: kind of the outcome.
        segments_of: names the segment of each row of a frame of features.
        feature_names: names of the features that it looks at.
    """

    complexity: ClassVar[int] = 1

    def __init__(
        self,
        kind: Kind,
        segments_of: Callable[[pd.DataFrame], np.ndarray],
        feature_names: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(kind)
        self.segments_of = segments_of
        self._feature_names = feature_names

    @property
    def feature_names(self) -> frozenset[str]:
        """Names of the features by which segments are told."""
        return self._feature_names

    def fresh(self) -> "SegmentMeans":
        """Return a learner of the same segments that has learned nothing."""
        return SegmentMeans(self.kind, self.segments_of, self._feature_names)

    def fit(self, frame: pd.DataFrame, outcome: np.ndarray, weight: np.ndarray | None = None) -> Self:
        """Learn from features (rows, features), outcomes (rows,) and optional weights (rows,) > 0."""
        super().fit(frame, outcome, weight)
        weight = self._scaled(outcome, weight)
        rarer = min(self.constant_, 1.0 - self.constant_) if self.kind == "chance" else 1.0
        beside = _OUTCOMES / rarer
        names, position = np.unique(self.segments_of(frame).astype(str), return_inverse=True)
        total = np.bincount(position, weights=weight * outcome, minlength=len(names))
        known = np.bincount(position, weights=weight, minlength=len(names))
        means = (total + beside * self.constant_) / (known + beside)
        self.means_ = {str(name): float(mean) for name, mean in zip(names, means, strict=True)}
        return self

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the expected outcome, float64 of shape (rows,)."""
        names, position = np.unique(self.segments_of(frame).astype(str), return_inverse=True)
        return np.array([self.means_.get(str(name), self.constant_) for name in names], dtype=float)[position]


def with_segment_means(
    model: ScoringModel, segmenter: UserSegmenter, rows: TrainingRows, *, thread_count: int, random_state: int
) -> ScoringModel:
    """Return a model whose chances and amounts are the means of segments, and whose effects are means by type.

    Args:
        model: where lifetime values, rhythms and influence come from.
        segmenter: says who is in which segment, now and at each past moment.
        rows: past moments with their features.
        thread_count: threads of the learners.
        random_state: seed.

    Raises:
        SegmentationError: a feature is gone that the segments were learned with.
    """

    def segments_of(frame: pd.DataFrame) -> np.ndarray:
        return frame[_SEGMENT].to_numpy(dtype=object) if _SEGMENT in frame else segmenter.predict(frame)

    named = replace(
        rows,
        features=pd.DataFrame({_SEGMENT: segmenter.predict(rows.features)}, index=rows.features.index),
        event_features=rows.event_features[[]],
    )

    def learner_of(kind: type[OutcomeModel]) -> SegmentMeans:
        return SegmentMeans(kind.kind, segments_of, segmenter.feature_names)

    seeds: dict[str, Any] = {"thread_count": thread_count, "random_state": random_state}
    return replace(
        model,
        returns=ReturnModel(**seeds, learner=learner_of(ReturnModel)).fit(named.returns()),
        conversions=ConversionModel(**seeds, learner=learner_of(ConversionModel)).fit(named.conversions()),
        revenues=RevenueModel(**seeds, learner=learner_of(RevenueModel)).fit(named.revenues()),
        segmenter=segmenter,
    )
