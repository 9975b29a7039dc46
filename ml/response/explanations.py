"""Why a user's chance is what it is: what each feature adds to it, and the largest three in words.

boosted, monotone  SHAP values of the trees (Lundberg et al. 2018), computed by CatBoost
linear, shrunken   coefficient times deviation from the mean user, which is the SHAP value of a linear model
forest             change of the mean along the path of each tree, by the feature that was asked (Saabas 2014)
constant           nothing: everybody is told the same
"""

import re

import numpy as np
import pandas as pd

from ml.response.encoding import MISSING, FeatureEncoder, as_words, is_numeric
from ml.response.forest import ForestLearner
from ml.response.learners import BoostedLearner, FeatureLearner, Learner, LinearLearner
from ml.response.shrunken import ShrunkenLearner

REASONS = 3
# Below this a feature adds nothing worth a word (on the scale of the log odds).
_SMALLEST_PART = 1e-3


def contributions(learner: Learner, frame: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """Return names of features and what each adds to the score of each row, float64 of shape (rows, features)."""
    if not isinstance(learner, FeatureLearner) or learner.is_constant_ or len(frame) == 0:
        return [], np.zeros((len(frame), 0))
    if isinstance(learner, BoostedLearner):
        return learner.encoder_.names_, learner.shap_values(frame)
    if isinstance(learner, LinearLearner):
        names, parts = _by_feature(learner.encoder_, learner.encoder_.to_matrix(frame) * learner.coefficients_)
        columns = learner.encoder_.column_names()
        for position, name in enumerate(names):
            # Numbers are deviations already. A word is held against the other words, each counting the same: whom else
            # the frame holds must not change what is said of a user.
            ours = [number for number, column in enumerate(columns) if column.startswith(f"{name} = ")]
            if ours:
                parts[:, position] -= learner.coefficients_[ours].mean()
        return names, parts
    if isinstance(learner, ShrunkenLearner):
        return _by_feature(learner.summary_.encoder_, learner.summary_.parts(frame, learner.slopes_))
    if isinstance(learner, ForestLearner):
        return _by_feature(learner.encoder_, learner.path_changes(frame))
    return [], np.zeros((len(frame), 0))


def importance_by_feature(learner: Learner) -> dict[str, float]:
    """Return the share of each feature in what moves the predictions, the largest first; columns of a feature added."""
    shares: dict[str, float] = {}
    for column, share in learner.importances().items():
        name = _feature_of(column)
        shares[name] = shares.get(name, 0.0) + share
    return dict(sorted(shares.items(), key=lambda pair: (-pair[1], pair[0])))


def reasons_in_words(learner: Learner, frame: pd.DataFrame, noun: str = "chance") -> np.ndarray:
    """Return the three features that move each row's prediction most, in words; object of shape (rows,), None for none.

    Args:
        learner: a fitted learner.
        frame: features, (rows, features).
        noun: what is predicted.
    """
    names, parts = contributions(learner, frame)
    reasons = np.full(len(frame), None, dtype=object)
    if not names:
        return reasons
    order = np.argsort(-np.abs(parts), axis=1, kind="stable")[:, :REASONS]
    parts = np.take_along_axis(parts, order, axis=1)
    words = np.full(order.shape, "", dtype=object)
    for position in np.unique(order):
        rows, ranks = np.nonzero(order == position)
        words[rows, ranks] = _in_words(names[position], frame[names[position]].iloc[rows])
    directions = np.where(parts > 0, f" (raises the {noun})", f" (lowers the {noun})")
    said = (words + directions.astype(object)).tolist()
    is_worth_saying = (np.abs(parts) >= _SMALLEST_PART).tolist()
    for row, (texts, kept) in enumerate(zip(said, is_worth_saying, strict=True)):
        reasons[row] = "; ".join(text for text, keep in zip(texts, kept, strict=True) if keep) or None
    return reasons


def _by_feature(encoder: FeatureEncoder, parts: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Add up the columns that stand for one feature."""
    names = encoder.names_
    position = {name: number for number, name in enumerate(names)}
    added = np.zeros((len(parts), len(names)))
    for column, name in enumerate(encoder.column_names()):
        added[:, position[_feature_of(name)]] += parts[:, column]
    return names, added


def _feature_of(column: str) -> str:
    return column.removesuffix(" unknown").split(" = ")[0]


_PATTERNS = (
    (re.compile(r"days_since_last_(?P<what>\w+)"), "last {what} {value} days ago", "no {what} yet"),
    (re.compile(r"days_since_first_(?P<what>\w+)"), "first {what} {value} days ago", "no {what} yet"),
    (re.compile(r"(?P<what>\w+)_count_(?P<days>\d+)d"), "{value} {what} in {days} days", "unknown number of {what}"),
    (
        re.compile(r"(?P<what>\w+)_amount_(?P<days>\d+)d"),
        "{what} of {value} in {days} days",
        "no {what} in {days} days",
    ),
    (re.compile(r"(?P<what>\w+)_seconds_(?P<days>\d+)d"), "{what} of {value} s in {days} days", "no {what}"),
    (re.compile(r"(?P<what>\w+?)_count(_life)?"), "{value} {what} so far", "unknown number of {what}"),
    (re.compile(r"(?P<what>\w+)_amount(_life)?"), "{what} of {value} so far", "no {what}"),
    (re.compile(r"(?P<what>\w+)_share"), "{percent} {what}", "no share of {what}"),
    (re.compile(r"(?P<what>\w+)_days"), "{what} of {value} days", "no {what} known"),
)


def _in_words(name: str, column: pd.Series) -> np.ndarray:
    """Say a feature and its value for each row."""
    if not is_numeric(column):
        what = name.replace("_", " ")
        return np.array([f"{what} {word if word != MISSING else 'unknown'}" for word in as_words(column)], dtype=object)
    numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
    template, absent, groups = "{what} {value}", "{what} unknown", {"what": name}
    for pattern, known, unknown in _PATTERNS:
        found = pattern.fullmatch(name)
        if found:
            template, absent, groups = known, unknown, found.groupdict()
            break
    spoken = {key: (text or "").replace("_", " ") for key, text in groups.items()}
    # Many users have the same figure: each is put into words once.
    different, which = np.unique(numbers, return_inverse=True)
    words = [
        absent.format(**spoken)
        if np.isnan(number)
        else template.format(value=_number(number), percent=f"{number:.0%}", **spoken)
        for number in different
    ]
    return np.array(words, dtype=object)[which]


def _number(number: float) -> str:
    return f"{number:.0f}" if number == round(number) or abs(number) >= 100 else f"{number:.2f}"
