"""A random forest that rests as plain arrays: learned by scikit-learn, predicted here."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestRegressor

from ml.response.learners import FeatureLearner, Kind, Learner

_TREES = 50
_DEPTH = 8
_LEAF_ROWS = 20
# A tree learns from at most so many rows: more make trees alike and slow, not better.
_TREE_ROWS = 20_000
_CHUNK_ROWS = 8192


class ForestLearner(FeatureLearner):
    """Mean of fifty shallow trees, each grown on a bootstrap sample and random features.

    For a chance the trees regress on 0 and 1, which chooses the splits that the Gini index would.

    Source:
        Breiman (2001), Random forests.
    """

    name: ClassVar[str] = "forest"
    # Fifty trees of 256 leaves are the largest of the candidates.
    complexity: ClassVar[int] = 4

    def __init__(self, kind: Kind, *, thread_count: int = 1, random_state: int = 0) -> None:
        super().__init__(kind)
        self.thread_count = thread_count
        self.random_state = random_state

    def fresh(self) -> Learner:
        """Return a learner of the same settings that has learned nothing."""
        return ForestLearner(self.kind, thread_count=self.thread_count, random_state=self.random_state)

    def _fit_features(self, frame: pd.DataFrame, outcome: np.ndarray, weight: np.ndarray) -> None:
        forest = RandomForestRegressor(
            n_estimators=_TREES,
            max_depth=_DEPTH,
            min_samples_leaf=_LEAF_ROWS,
            max_features="sqrt",
            max_samples=min(len(outcome), _TREE_ROWS),
            n_jobs=self.thread_count,
            random_state=self.random_state,
        )
        forest.fit(self._matrix(frame), outcome, sample_weight=weight)
        trees = [estimator.tree_ for estimator in forest.estimators_]
        self.roots_ = np.cumsum([0, *(tree.node_count for tree in trees[:-1])]).astype(np.int32)
        nodes = np.arange(sum(tree.node_count for tree in trees), dtype=np.int32)
        children = []
        for side in ("children_left", "children_right"):
            child = np.concatenate(
                [getattr(tree, side) + np.where(getattr(tree, side) < 0, 0, root) for tree, root in self._rooted(trees)]
            )
            # A leaf is its own child, so that every row takes the same number of steps.
            children.append(np.where(child < 0, nodes, child).astype(np.int32))
        self.left_, self.right_ = children
        self.feature_ = np.maximum(np.concatenate([tree.feature for tree in trees]), 0).astype(np.int32)
        self.threshold_ = np.concatenate([tree.threshold for tree in trees])
        self.value_ = np.concatenate([tree.value[:, 0, 0] for tree in trees])
        self.importances_ = np.asarray(forest.feature_importances_, dtype=np.float64)

    def _rooted(self, trees: list[Any]) -> list[tuple[Any, int]]:
        return list(zip(trees, self.roots_.tolist(), strict=True))

    def _matrix(self, frame: pd.DataFrame) -> np.ndarray:
        """Encode as float32, in which scikit-learn grows its trees: thresholds mean the same here."""
        return self.encoder_.to_matrix(frame).astype(np.float32)

    def _predict_features(self, frame: pd.DataFrame) -> np.ndarray:
        matrix = self._matrix(frame)
        total = np.zeros(len(matrix))
        for start in range(0, len(matrix), _CHUNK_ROWS):
            part = matrix[start : start + _CHUNK_ROWS]
            rows = np.arange(len(part))
            for root in self.roots_:
                node = np.full(len(part), root)
                for _ in range(_DEPTH):
                    is_left = part[rows, self.feature_[node]] <= self.threshold_[node]
                    node = np.where(is_left, self.left_[node], self.right_[node])
                total[start : start + _CHUNK_ROWS] += self.value_[node]
        return total / len(self.roots_)

    def path_changes(self, frame: pd.DataFrame) -> np.ndarray:
        """Return how far each column moves the mean along the paths of a row, float64 of shape (rows, columns).

        With the mean over the roots they add up to the prediction.
        """
        matrix = self._matrix(frame)
        rows = np.arange(len(matrix))
        changes = np.zeros(matrix.shape)
        for root in self.roots_:
            node = np.full(len(matrix), root)
            for _ in range(_DEPTH):
                asked = self.feature_[node]
                child = np.where(matrix[rows, asked] <= self.threshold_[node], self.left_[node], self.right_[node])
                # A leaf is its own child and changes nothing.
                changes[rows, asked] += self.value_[child] - self.value_[node]
                node = child
        return changes / len(self.roots_)

    def importances(self) -> dict[str, float]:
        """Share of each column in the gain of the splits."""
        if self.is_constant_:
            return {}
        return dict(zip(self.encoder_.column_names(), self.importances_.tolist(), strict=True))

    def to_state(self) -> dict[str, Any]:
        """Return everything learned as arrays and JSON values."""
        state = {**super().to_state(), "thread_count": self.thread_count, "random_state": self.random_state}
        if not self.is_constant_:
            state |= {name: getattr(self, f"{name}_") for name in _ARRAYS}
        return state

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        self.thread_count, self.random_state = state["thread_count"], state["random_state"]
        if not self.is_constant_:
            for name in _ARRAYS:
                setattr(self, f"{name}_", state[name])


_ARRAYS = ("roots", "left", "right", "feature", "threshold", "value", "importances")
