"""A segment's rule in words and numbers, read off a shallow decision tree, with how well the rule fits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.tree import DecisionTreeClassifier

from ml.segmentation.naming import GAP, in_words

# The shallowest tree that says where this share of the users belong is deep enough, and nobody keeps four conditions in
# mind.
_FAITHFUL = 0.9
_DEPTHS = (2, 3)
_SMALLEST_LEAF_SHARE = 0.01


@dataclass(frozen=True)
class SegmentRule:
    """What the shallow tree says of one segment.

    Attributes:
        words: the conditions under which a user belongs to the segment, "" when the tree has no leaf for it.
        precision: share of the users under the rule who are in the segment.
        coverage: share of the segment's users who are under the rule.
    """

    words: str
    precision: float
    coverage: float


def find_rules(
    raw: np.ndarray, features: Sequence[str], clusters: np.ndarray, count: int, *, random_state: int
) -> tuple[list[SegmentRule], float]:
    """Explain clusters by the raw features.

    Args:
        raw: feature values in their own units without gaps, shape (users, features).
        features: their names.
        clusters: cluster of each user.
        count: number of clusters.
        random_state: seed (decides between equally good splits).

    Returns:
        One rule per cluster, and the fidelity: share of users whom the whole tree puts where the clusters put them.
    """
    if count < 2 or not len(features):
        return [SegmentRule("everybody", 1.0, 1.0)] * count, 1.0
    for depth in _DEPTHS:
        tree = DecisionTreeClassifier(
            max_depth=depth,
            min_samples_leaf=max(1, int(len(raw) * _SMALLEST_LEAF_SHARE)),
            class_weight="balanced",
            random_state=random_state,
        ).fit(raw, clusters)
        fidelity = float((tree.predict(raw) == clusters).mean())
        if fidelity >= _FAITHFUL:
            break
    leaves = tree.apply(raw)
    conditions = _conditions_of_leaves(tree, features, (raw == np.floor(raw)).all(axis=0))
    rules = []
    for cluster in range(count):
        inside = clusters == cluster
        # The segment's largest leaf among those where it is the majority: one rule that a person can keep in mind.
        best: tuple[float, int] | None = None
        for leaf in np.unique(leaves[inside]):
            here = leaves == leaf
            caught = float((here & inside).sum())
            if caught > here.sum() / 2 and (best is None or caught > best[0]):
                best = (caught, int(leaf))
        if best is None:
            rules.append(SegmentRule("", 0.0, 0.0))
            continue
        here = leaves == best[1]
        rules.append(SegmentRule(conditions[best[1]], best[0] / float(here.sum()), best[0] / float(inside.sum())))
    return rules, fidelity


def number_in_words(value: float) -> str:
    """A threshold as a person writes it: three figures that count."""
    if value == 0:
        return "0"
    if abs(value) >= 1e15:
        return f"{value:.2e}"
    digits = max(0, 2 - int(np.floor(np.log10(abs(value)))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _conditions_of_leaves(
    tree: DecisionTreeClassifier, features: Sequence[str], is_whole: np.ndarray
) -> dict[int, str]:
    structure = tree.tree_
    found: dict[int, str] = {}

    def walk(node: int, bounds: dict[int, tuple[float, float]]) -> None:
        left, right = structure.children_left[node], structure.children_right[node]
        if left == right:
            found[node] = " and ".join(
                _interval_in_words(features[feature], *bounds[feature]) for feature in sorted(bounds)
            )
            return
        feature, threshold = int(structure.feature[node]), float(structure.threshold[node])
        if is_whole[feature] and not features[feature].endswith(GAP):
            # "at most 2.5 visits" is at most 2.
            threshold = float(np.floor(threshold))
        low, high = bounds.get(feature, (-np.inf, np.inf))
        walk(left, {**bounds, feature: (low, min(high, threshold))})
        walk(right, {**bounds, feature: (max(low, threshold), high)})

    walk(0, {})
    return found


def _interval_in_words(feature: str, low: float, high: float) -> str:
    if feature.endswith(GAP):
        name = in_words(feature.removesuffix(GAP))
        return f"{name} is not known" if low > 0 else f"{name} is known"
    name = in_words(feature)
    if np.isinf(low):
        return f"{name} at most {number_in_words(high)}"
    if np.isinf(high):
        return f"{name} above {number_in_words(low)}"
    return f"{name} above {number_in_words(low)} and at most {number_in_words(high)}"
