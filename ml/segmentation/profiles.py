"""What a segment looks like: size, medians, and its definition in words and numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ml.segmentation.naming import in_words
from ml.segmentation.rules import SegmentRule, number_in_words


@dataclass(frozen=True)
class SegmentProfile:
    """A segment as marketing sees it.

    Attributes:
        segment: its name.
        size: number of users in it.
        share: size over all users.
        definition: its rule in words and numbers.
        medians: median of each main feature among its users, in the feature's own unit; None where nobody has a value.
        typical: most frequent value of each text column among its users.
        example: what a user from the middle of the segment did, in words: the one nearest to all its medians.
        precision: share of the users under the rule who are in the segment, when it was fitted.
        coverage: share of the segment's users who are under the rule, when it was fitted.
    """

    segment: str
    size: int
    share: float
    definition: str
    medians: Mapping[str, float | None] = field(default_factory=dict)
    typical: Mapping[str, str] = field(default_factory=dict)
    example: str = ""
    precision: float = 1.0
    coverage: float = 1.0


def rule_in_words(rule: SegmentRule) -> str:
    """The rule with how well it fits, "" when there is none."""
    if not rule.words or (rule.precision == 1.0 and rule.coverage == 1.0):
        return rule.words
    return (
        f"{rule.words} (holds for {rule.coverage:.0%} of the segment; {rule.precision:.0%} of those it fits are in it)"
    )


def differences_in_words(differences: np.ndarray, features: Sequence[str]) -> str:
    """The two features in which the segment differs most, for when no rule was found."""
    order = np.argsort(-np.abs(differences), kind="stable")[:2]
    return " and ".join(
        f"{in_words(features[position])} {'higher' if differences[position] > 0 else 'lower'} than usual"
        for position in order
    )


def example_in_words(values: np.ndarray, spread: np.ndarray, features: Sequence[str]) -> str:
    """Figures of the user who is nearest to the medians of the segment, "" for nobody.

    Args:
        values: main features of the segment's users, shape (users, features), NaN where not known.
        spread: distance between the quartiles of each feature among everybody, by which differences are measured.
        features: names of the features.
    """
    if not len(values) or not len(features):
        return ""
    is_known = ~np.isnan(values)
    columns = [column[known] for column, known in zip(values.T, is_known.T, strict=True)]
    middle = np.array([np.median(column) if column.size else np.nan for column in columns])
    # Where most have no value, who has one is no example.
    is_usual = is_known.mean(axis=0) > 0.5
    away = np.where(is_known, np.abs(values - middle) / np.where(spread > 0, spread, 1.0), 0.0) + (is_known != is_usual)
    nearest = int(away.sum(axis=1).argmin())
    return ", ".join(
        f"{in_words(feature)} {'not known' if np.isnan(value) else number_in_words(float(value))}"
        for feature, value in zip(features, values[nearest], strict=True)
    )


def is_text(column: pd.Series) -> bool:
    """Whether a column holds texts or categories, which describe a segment but do not make it."""
    return bool(pd.api.types.is_string_dtype(column.dtype) or isinstance(column.dtype, pd.CategoricalDtype))


def most_frequent(values: pd.Series) -> str:
    """The most frequent value, of equally frequent ones the first of the alphabet; "" when there is none."""
    counts = values.dropna().astype(str).value_counts()
    if counts.empty:
        return ""
    return str(min(counts[counts == counts.iloc[0]].index))
