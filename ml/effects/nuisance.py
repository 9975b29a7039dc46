"""Cross-fitted helper models: who is likely to be exposed, and what a user would have done anyway.

Each prediction comes from models that never saw the user: rows are dealt to folds by user, so that what is left over
after the models (the residual) owes nothing to memory (Chernozhukov et al. 2018, double machine learning).
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from ml.effects.errors import EffectsError

FOLDS = 5
# A category needs that many rows for a column of its own, and a feature gets at most that many columns.
FEWEST_ROWS_A_LEVEL = 20
MOST_LEVELS = 10
# The models learn from at most that many rows; more change the fourth digit and cost seconds.
MOST_LEARNING_ROWS = 60_000
MOST_TUNING_ROWS = 10_000
# The largest slope of the loss, per row, at which a logistic regression has learned enough.
LEARNING_TOLERANCE = 1e-4
_BLOCK_ROWS = 4096
# Features of fewer rows are made sooner one after the other.
FEWEST_ROWS_BESIDE = 50_000
INVERSE_PENALTIES = (0.003, 0.03, 0.3)
RIDGE_PENALTIES = (1.0, 10.0, 100.0, 1_000.0, 10_000.0)


@dataclass(frozen=True)
class Design:
    """Features as numbers.

    Attributes:
        matrix: float64, shape (rows, columns): standardised columns that the models read.
        balance: positions in `matrix` of the columns whose balance is worth reporting (no helper columns).
        names: name of each column.
    """

    matrix: np.ndarray
    balance: np.ndarray
    names: tuple[str, ...]


def build_design(features: pd.DataFrame, *, has_bends: bool = True) -> Design:
    """Turn features into standardised columns; constant ones and exact copies are left out.

    A numeric feature becomes its inverse hyperbolic sine in units of its own median size (counts and money are skewed,
    and may be negative), hinges at its quartiles (so that a straight line may bend), and a flag where it is unknown. A
    text feature becomes one flag for each of its frequent words. Without `has_bends` the hinges are left out.
    """
    columns: list[np.ndarray] = []
    names: list[str] = []
    is_balance: list[bool] = []
    seen: set[bytes] = set()
    made = _of_each(
        lambda name: _columns_of(features[name], str(name), has_bends=has_bends),
        features.columns,
        beside=len(features) >= FEWEST_ROWS_BESIDE,
    )
    for column in itertools.chain.from_iterable(made):
        if column.digest not in seen:
            seen.add(column.digest)
            columns.append(column.values)
            names.append(column.name)
            is_balance.append(column.is_shown)
    matrix = np.empty((len(features), len(columns)))
    # Rows a block: all of a column at once would touch every page of the matrix for each.
    for start in range(0, len(matrix) if columns else 0, _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        np.stack([column[block] for column in columns], axis=1, out=matrix[block])
    return Design(matrix, np.flatnonzero(is_balance), tuple(names))


@dataclass(frozen=True)
class _Column:
    """A standardised column, what it is called, whether its balance is worth reporting, and a hash of its values."""

    values: np.ndarray
    name: str
    is_shown: bool
    digest: bytes


def _columns_of(series: pd.Series, name: str, *, has_bends: bool) -> list[_Column]:
    """Columns of one feature, without those that are the same for everybody."""
    columns: list[_Column] = []

    def keep(values: np.ndarray, name: str, *, is_shown: bool) -> None:
        deviation = values.std()
        if deviation > 1e-9:
            standardised = (values - values.mean()) / deviation
            columns.append(_Column(standardised, name, is_shown, hashlib.sha256(standardised).digest()))

    if not pd.api.types.is_numeric_dtype(series):
        words = series.astype("object").where(series.notna(), "unknown").astype(str)
        counts = words.value_counts().sort_index().sort_values(ascending=False, kind="stable")
        for word in counts[counts >= FEWEST_ROWS_A_LEVEL].index[:MOST_LEVELS]:
            keep((words == word).to_numpy(dtype=float), f"{name}={word}", is_shown=True)
        return columns
    values = series.to_numpy(dtype=float, na_value=np.nan)
    is_unknown = ~np.isfinite(values)
    if is_unknown.all():
        return columns
    known = values[~is_unknown]
    size = np.median(np.abs(known[known != 0])) if (known != 0).any() else 1.0
    bent = np.arcsinh(values / size)
    lower, middle, upper = np.quantile(bent[~is_unknown], (0.25, 0.5, 0.75))
    bent[is_unknown] = middle
    keep(bent, name, is_shown=True)
    if has_bends and lower < upper:
        keep(np.maximum(lower - bent, 0.0), f"{name}, low", is_shown=False)
        keep(np.maximum(bent - upper, 0.0), f"{name}, high", is_shown=False)
    if is_unknown.any():
        keep(is_unknown.astype(float), f"{name} is unknown", is_shown=True)
    return columns


def fold_by_user(user_ids: np.ndarray, folds: int = FOLDS) -> np.ndarray:
    """Deal rows to folds 0 .. folds - 1, all rows of a user to the same one, whatever the other rows are."""
    hashes = pd.util.hash_array(np.asarray(user_ids, dtype=object), categorize=True)
    return (hashes % np.uint64(folds)).astype(np.int64)


def predict_exposure(matrix: np.ndarray, is_exposed: np.ndarray, weights: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Chance of being exposed rather than control, by penalised logistic regression of the other folds.

    Args:
        matrix: standardised columns, shape (rows, columns).
        is_exposed: bool, shape (rows,).
        weights: weight of each row when learning, shape (rows,).
        folds: fold of each row, shape (rows,).
    """
    if matrix.shape[1] == 0:
        return np.full(len(matrix), float(weights[is_exposed].sum() / weights.sum()))
    tuning = _thin(np.arange(len(matrix)), MOST_TUNING_ROWS)
    tried = matrix[tuning], is_exposed[tuning], weights[tuning], folds[tuning]
    candidates = _predict_with(*tried, INVERSE_PENALTIES)
    losses = [_log_loss(candidate, is_exposed[tuning], weights[tuning]) for candidate in candidates]
    best = int(np.argmin(losses))
    if len(tuning) == len(matrix):
        return candidates[best]
    return _predict_with(matrix, is_exposed, weights, folds, INVERSE_PENALTIES[best : best + 1])[0]


def predict_outcomes(
    matrix: np.ndarray, outcomes: np.ndarray, weights: np.ndarray, folds: np.ndarray, is_teacher: np.ndarray
) -> np.ndarray:
    """Expected outcomes, by weighted ridge regression on the teacher rows of the other folds.

    One pass builds the cross products of each fold; a model of "all but this fold" is a subtraction. The penalty is
    the one that predicts best out of fold, for each outcome by itself.

    Args:
        matrix: standardised columns, shape (rows, columns).
        outcomes: shape (rows, outcomes).
        weights: weight of each row when learning, shape (rows,).
        folds: fold of each row, shape (rows,).
        is_teacher: bool, shape (rows,): the rows to learn from, such as the controls.

    Returns:
        Predictions for every row, shape (rows, outcomes).
    """
    if not is_teacher.any():
        raise EffectsError("No row to learn outcomes from: there must be at least one control.")
    used = np.unique(folds)
    width = matrix.shape[1] + 1
    # Weights are scaled to the number of rows, so that a penalty means the same whatever their unit.
    scaled = weights / weights[is_teacher].mean()

    def products(fold: int) -> tuple[np.ndarray, np.ndarray]:
        rows = np.flatnonzero((folds == fold) & is_teacher)
        roots = np.sqrt(scaled[rows, None])
        # A product of a matrix with itself takes half of what any other takes.
        weighted = _with_constant(matrix, rows) * roots
        return weighted.T @ weighted, weighted.T @ (outcomes[rows] * roots)

    found = dict(zip(used, _of_each(products, used), strict=True))
    gram_of_all, moment_of_all = (np.sum(parts, axis=0) for parts in zip(*found.values(), strict=True))
    candidates = np.empty((len(RIDGE_PENALTIES), *outcomes.shape))

    def predict(fold: int) -> None:
        gram, moment = found[fold]
        inside = np.flatnonzero(folds == fold)
        rows = _with_constant(matrix, inside)
        for position, penalty in enumerate(RIDGE_PENALTIES):
            ridge = np.eye(width) * penalty
            ridge[0, 0] = 1e-6
            candidates[position, inside] = rows @ np.linalg.solve(gram_of_all - gram + ridge, moment_of_all - moment)

    _of_each(predict, used)
    losses = [scaled[is_teacher] @ (outcomes[is_teacher] - tried[is_teacher]) ** 2 for tried in candidates]
    best = np.argmin(losses, axis=0)
    return np.column_stack([candidates[best[column], :, column] for column in range(outcomes.shape[1])])


def _with_constant(matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Some rows of a matrix, with a column of ones before the others."""
    padded = np.ones((len(rows), matrix.shape[1] + 1))
    np.take(matrix, rows, axis=0, out=padded[:, 1:], mode="clip")
    return padded


def _predict_with(
    matrix: np.ndarray,
    is_exposed: np.ndarray,
    weights: np.ndarray,
    folds: np.ndarray,
    strengths: Sequence[float],
) -> np.ndarray:
    """Predict each fold by logistic regressions that learned from the others, one of each strength.

    Returns:
        Chances, shape (strengths, rows).
    """
    chances = np.empty((len(strengths), len(matrix)))

    def predict(fold: int) -> None:
        inside = folds == fold
        learning = _thin(np.flatnonzero(~inside), MOST_LEARNING_ROWS)
        if is_exposed[learning].all() or not is_exposed[learning].any():
            raise EffectsError("All users of one arm fall into one fold; show no number for so few users.")
        # Single precision takes half the time, and moves chances by less than another drawing of folds does. Each
        # strength begins with what the one before it found.
        model = LogisticRegression(solver="newton-cholesky", max_iter=50, tol=LEARNING_TOLERANCE, warm_start=True)
        rows, arms, row_weights = matrix[learning].astype(np.float32), is_exposed[learning], weights[learning]
        others = matrix[inside].astype(np.float32)
        for position, strength in enumerate(strengths):
            model.set_params(C=strength).fit(rows, arms, sample_weight=row_weights)
            chances[position, inside] = model.predict_proba(others)[:, 1]

    _of_each(predict, np.unique(folds))
    return chances


def _of_each(function: Callable[[Any], Any], parts: Iterable[Any], *, beside: bool = True) -> list[Any]:
    """What a function says of each fold or feature, in their order; worked on beside each other, a core each."""
    if not beside:
        return [function(part) for part in parts]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(function, parts))


def _log_loss(chances: np.ndarray, is_exposed: np.ndarray, weights: np.ndarray) -> float:
    """Weighted log loss of predicted chances."""
    right = np.where(is_exposed, chances, 1.0 - chances)
    return float(-weights @ np.log(np.maximum(right, 1e-9)))


def _thin(rows: np.ndarray, most: int) -> np.ndarray:
    """At most that many of the rows, evenly spread over their order."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
