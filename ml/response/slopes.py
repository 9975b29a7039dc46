"""Slopes that borrow strength: a logistic model whose slopes are common to all groups in part, and their own in part.

    log odds of row i in group t = offset_i + contrast_i * (1, x_i)' (common + own_t)

`common` and `own_t` are normal around 0; how far they spread is estimated from the data by the marginal likelihood, so
that slopes which the rows do not speak for vanish, and a group with few rows follows the others. The posterior mean is
what a decision that maximises expected value needs; the posterior spread gives the intervals.

Rows that are doubted (their contrast was not drawn by chance) have slopes of their own beside, the same for all groups:

    log odds of doubted row i = offset_i + contrast_i * (1, x_i)' (common + own_t + bias)

How far `bias` spreads is estimated like the rest, so that such rows count as far as they agree with the others, and
what sets them apart along any column is not taken for an effect.

Sources: Laird and Ware (1982), Random-effects models for longitudinal data, for the model; MacKay (1992), Bayesian
interpolation, for the evidence and the steps towards it; Breslow and Clayton (1993), Approximate inference in
generalized linear mixed models, for the Laplace approximation on the log odds; Kallus, Puli and Shalit (2018), Removing
hidden confounding by experimental grounding, for the slopes of the bias.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController, threadpool_limits

from ml.response.summary import SharedColumns

_ROUNDS = 12
_STEPS = 30
_SMALLEST_SPREAD = 1e-4
# Prior variance of slopes that groups may not have.
_NO_SPREAD = 1e-12
# All slopes of a block together move a usual row by at most about this much on the log odds, and by this to begin with.
_LARGEST_BLOCK = 1.0
_FIRST_BLOCK = 0.3
_PULL = 0.3
# Rows are believed to move by at most this much on the log odds in one round: Newton steps from a far start overshoot.
_LARGEST_STEP = 1.5
_CONVERGED = 1e-2
# What is multiplied at a time stays in the processor's cache.
_ROWS_IN_CACHE = 2048
_COLUMNS_AT_A_TIME = 24


@dataclass(frozen=True)
class GroupedSlopes:
    """The posterior of the slopes; column 0 is the intercept.

    Attributes:
        groups: names of the groups.
        means: (groups + 1, columns + 1), the sum of common and own slopes by group; last the common ones alone.
        covariances: (groups + 1, columns + 1, columns + 1); the last includes the spread of own slopes, as it stands
            for a group never seen.
        evidence: log marginal likelihood beyond that of a model in which every slope is 0.
        shared: (groups + 1, columns + 1, parts), the errors that groups have in common: the slopes of two groups have
            the covariance shared[one] @ shared[other].T.
    """

    groups: tuple[str, ...]
    means: np.ndarray
    covariances: np.ndarray
    evidence: float
    shared: np.ndarray

    def predict(self, x: np.ndarray | SharedColumns, group: str) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard error of (1, x)' slopes for rows (rows, columns) of a group, each (rows,)."""
        return self.predict_mean(x, group), self.predict_error(x, group)

    def predict_error(self, x: np.ndarray | SharedColumns, group: str) -> np.ndarray:
        """Return the error that `predict` gives, which costs many times as much as the mean."""
        columns = _as_shared(x)
        covariance = self.covariances[self._position(group)]
        towards = covariance[0, 1:]
        # Each pair of columns is multiplied once: a matrix is symmetric, so twice its upper half is the whole.
        upper = np.triu(covariance[1:, 1:])
        upper[np.diag_indices_from(upper)] /= 2
        spread = np.empty(len(columns.shared))
        with _threads().limit(limits=1):
            for start in range(0, len(spread), _ROWS_IN_CACHE):
                rows = slice(start, start + _ROWS_IN_CACHE)
                matrix = columns.take(rows).matrix()
                product = np.empty_like(matrix)
                for first in range(0, len(upper), _COLUMNS_AT_A_TIME):
                    last = first + _COLUMNS_AT_A_TIME
                    np.matmul(matrix[:, :last], upper[:last, first:last], out=product[:, first:last])
                product += towards
                spread[rows] = 2 * np.einsum("ij,ij->i", product, matrix) + covariance[0, 0]
        return np.sqrt(np.maximum(np.round(spread, 9), 0.0))

    def predict_mean(self, x: np.ndarray | SharedColumns, group: str) -> np.ndarray:
        """Return the mean that `predict` gives."""
        columns = _as_shared(x)
        slopes = self.means[self._position(group)]
        # einsum adds up each row by itself: a user's figure does not depend on who else is asked for.
        of_own = np.einsum("ij,j->i", columns.values, slopes[1:][columns.own])
        return np.asarray(np.einsum("ij,j->i", columns.shared, slopes[1:]) + of_own + slopes[0])

    def error_of_sums(self, sums: Mapping[str, np.ndarray]) -> float:
        """Return the standard error of sums over groups, each of weights (columns + 1,) times the group's slopes."""
        common, square = np.zeros(self.shared.shape[2]), 0.0
        for group, weights in sums.items():
            position = self._position(group)
            of_group = weights @ self.shared[position]
            common += of_group
            square += float(weights @ self.covariances[position] @ weights - of_group @ of_group)
        return float(np.sqrt(max(square + float(common @ common), 0.0)))

    def _position(self, group: str) -> int:
        return self.groups.index(group) if group in self.groups else len(self.groups)

    def to_state(self) -> dict[str, Any]:
        """Return everything learned as arrays and JSON values."""
        return {**vars(self), "groups": list(self.groups)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "GroupedSlopes":
        """Rebuild from `to_state`."""
        means = state["means"]
        # Versions of before plans were doubted take errors of groups for independent.
        shared = state["shared"] if "shared" in state else np.zeros((*means.shape, 0))
        return cls(tuple(state["groups"]), means, state["covariances"], float(state["evidence"]), shared)


@functools.cache
def _threads() -> ThreadpoolController:
    # To look for the libraries anew takes milliseconds, and errors are asked type by type.
    return ThreadpoolController()


def _as_shared(x: np.ndarray | SharedColumns) -> SharedColumns:
    if isinstance(x, SharedColumns):
        return x
    return SharedColumns(x.astype(np.float64, copy=False), np.zeros(0, dtype=np.int64), np.zeros((len(x), 0)))


@dataclass(frozen=True)
class _Spreads:
    """Prior variances of the columns (intercept first), and in a second half those of the bias if there is one."""

    common: np.ndarray
    own: np.ndarray


@dataclass(frozen=True)
class _Rows:
    """Rows of one group, believed or doubted: their places, and their columns with the intercept first."""

    places: np.ndarray
    design: np.ndarray
    is_doubted: bool


@dataclass(frozen=True)
class _Posterior:
    common: np.ndarray
    common_covariance: np.ndarray
    sums: np.ndarray
    sum_covariances: np.ndarray
    own_squares: np.ndarray
    own_variances: np.ndarray
    evidence: float
    # What an error of the common slopes leaves in the sum of each group, whose own slopes make up for the rest.
    rests: np.ndarray


def fit_slopes(
    x: np.ndarray,
    offset: np.ndarray,
    outcome: np.ndarray,
    contrast: np.ndarray,
    groups: np.ndarray,
    blocks: Sequence[int],
    *,
    weight: np.ndarray | None = None,
    has_own_slopes: bool = True,
    may_vanish: bool = True,
    is_doubted: np.ndarray | None = None,
) -> GroupedSlopes:
    """Fit the model of this module.

    Args:
        x: standardised columns, (rows, columns).
        offset: log odds without the slopes, (rows,).
        outcome: 0 or 1, (rows,).
        contrast: what the slopes are multiplied by, (rows,): 1 for a plain regression; for an effect whether the row
            was exposed minus its chance to be, which keeps errors of the offset out of the effect.
        groups: name of each row's group, (rows,).
        blocks: for each column the block whose prior spread it shares.
        weight: weight of each row, 1 on average, (rows,); all alike if left out.
        has_own_slopes: whether groups may differ.
        may_vanish: whether common slopes along the columns may be taken for nothing where the rows do not speak for
            them; if not they spread at least as far as a cautious person would not rule out.
        is_doubted: rows with a bias of their own, bool (rows,); none if left out. The bias is no part of the answer.
    """
    names = tuple(sorted({str(name) for name in groups}))
    doubted = np.zeros(len(x), dtype=bool) if is_doubted is None else is_doubted
    # One thread: sums of several add up in changing order, and the same data must give the same model.
    with threadpool_limits(limits=1):
        design = with_intercept(x)
        size = design.shape[1]
        places = [[np.flatnonzero((groups == name) & (doubted == side)) for side in (False, True)] for name in names]
        parts = [
            [_Rows(rows, design[rows], side) for rows, side in zip(of_group, (False, True), strict=True) if len(rows)]
            for of_group in places
        ]
        # Block 0 is the intercept's.
        block_of = np.array([0, *(block + 1 for block in blocks)])
        may_differ = np.full(size, has_own_slopes)
        if doubted.any():
            block_of = np.concatenate([block_of, block_of + block_of.max() + 1])
            may_differ = np.concatenate([may_differ, np.zeros(size, dtype=bool)])
        first = (_FIRST_BLOCK**2 / np.bincount(block_of))[block_of]
        spreads = _Spreads(first, np.where(may_differ, first, _NO_SPREAD))
        least = np.zeros(len(first))
        if not may_vanish:
            least[1:size] = first[1:size]
        linear = np.zeros(len(design))
        posterior = None
        for _ in range(_ROUNDS):
            quadratic = [_quadratic(part, linear, offset, outcome, contrast, weight, len(first)) for part in parts]
            information, score = [matrix for matrix, _ in quadratic], [vector for _, vector in quadratic]
            for _ in range(_STEPS):
                before = spreads
                known = _solve(information, score, spreads)
                spreads = _updated(known, spreads, block_of, len(names), may_differ)
                spreads = replace(spreads, common=np.maximum(spreads.common, least))
                changes = [
                    np.log(new / old) for new, old in ((spreads.common, before.common), (spreads.own, before.own))
                ]
                if max(np.abs(change).max() for change in changes) < _CONVERGED:
                    break
            posterior = _solve(information, score, spreads)
            step = np.zeros(len(linear))
            for part, mean in zip(parts, posterior.sums, strict=True):
                for rows in part:
                    slopes = mean[:size] + mean[size:] if rows.is_doubted else mean[:size]
                    step[rows.places] = rows.design @ slopes - linear[rows.places]
            linear += np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
            if np.abs(step).max(initial=0.0) < _CONVERGED:
                break
        assert posterior is not None
        # Spreads are estimates, too: one that came out as nothing may well be something. For the errors, and for them
        # alone, every block is allowed what a cautious person would not rule out.
        cautious = _Spreads(
            np.maximum(spreads.common, first), np.where(may_differ, np.maximum(spreads.own, first), spreads.own)
        )
        errors = _solve(information, score, cautious)
    unseen = errors.common_covariance + np.diag(cautious.own)
    root = np.linalg.cholesky(errors.common_covariance)
    shared = np.concatenate([errors.rests @ root, root[np.newaxis]])[:, :size]
    return GroupedSlopes(
        names,
        _rounded(np.vstack([posterior.sums, posterior.common])[:, :size]),
        _rounded(np.concatenate([errors.sum_covariances, unseen[np.newaxis]])[:, :size, :size]),
        round(float(posterior.evidence), 6),
        _rounded(shared),
    )


def with_intercept(x: np.ndarray) -> np.ndarray:
    """Return the columns with a column of ones before them, float64."""
    return np.column_stack([np.ones(len(x)), x.astype(np.float64, copy=False)])


def _quadratic(
    parts: Sequence[_Rows],
    linear: np.ndarray,
    offset: np.ndarray,
    outcome: np.ndarray,
    contrast: np.ndarray,
    row_weight: np.ndarray | None,
    size: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The log likelihood of one group near the present slopes s: - s' information s / 2 + score' s."""
    information, score = np.zeros((size, size)), np.zeros(size)
    for rows in parts:
        place, away = rows.places, contrast[rows.places]
        chance = 1 / (1 + np.exp(-np.clip(offset[place] + away * linear[place], -30, 30)))
        weight = chance * (1 - chance) * away**2
        target = away * (outcome[place] - chance) + weight * linear[place]
        if row_weight is not None:
            weight, target = weight * row_weight[place], target * row_weight[place]
        matrix, vector = (rows.design * weight[:, np.newaxis]).T @ rows.design, rows.design.T @ target
        # What is doubted is moved by the bias just as by the slopes.
        copies = 2 if rows.is_doubted else 1
        width = copies * len(vector)
        information[:width, :width] += np.tile(matrix, (copies, copies))
        score[:width] += np.tile(vector, copies)
    return information, score


def _solve(information: Sequence[np.ndarray], score: Sequence[np.ndarray], spreads: _Spreads) -> _Posterior:
    """Posterior of the slopes for given spreads. Own slopes are eliminated by group: groups x columns^3."""
    size = len(spreads.common)
    identity = np.eye(size)
    inverses, mixes = [], []
    pooled, towards = np.zeros((size, size)), np.zeros(size)
    evidence = 0.0
    for matrix, vector in zip(information, score, strict=True):
        inverse = np.linalg.inv(matrix + np.diag(1 / spreads.own))
        mix = inverse @ matrix
        pooled += matrix - matrix @ mix
        towards += vector - mix.T @ vector
        evidence += (
            0.5 * vector @ inverse @ vector - 0.5 * np.linalg.slogdet(identity + spreads.own[:, None] * matrix)[1]
        )
        inverses.append(inverse)
        mixes.append(mix)
    covariance = np.linalg.inv(pooled + np.diag(1 / spreads.common))
    common = covariance @ towards
    evidence += 0.5 * float(towards @ common)
    evidence -= 0.5 * np.linalg.slogdet(identity + spreads.common[:, None] * pooled)[1]
    sums, sum_covariances, rests, squares, variances = [], [], [], np.zeros(size), np.zeros(size)
    for inverse, mix, vector in zip(inverses, mixes, score, strict=True):
        own = inverse @ vector - mix @ common
        rest = identity - mix
        sums.append(common + own)
        sum_covariances.append(inverse + rest @ covariance @ rest.T)
        rests.append(rest)
        squares += own**2
        variances += np.diag(inverse) + ((mix @ covariance) * mix).sum(axis=1)
    return _Posterior(
        common, covariance, np.array(sums), np.array(sum_covariances), squares, variances, evidence, np.array(rests)
    )


def _updated(
    posterior: _Posterior, spreads: _Spreads, block_of: np.ndarray, groups: int, may_differ: np.ndarray
) -> _Spreads:
    """One step towards the spreads with the highest evidence: squares of a block's slopes over how many it determines.

    A little is added to the latter (a prior variance^-0.15): it keeps few rows from claiming large spreads.
    """
    sizes = np.bincount(block_of)

    def step(squares: np.ndarray, variances: np.ndarray, before: np.ndarray, count: int) -> np.ndarray:
        determined = np.bincount(block_of, weights=count - variances / before)
        found = np.bincount(block_of, weights=squares) / (np.maximum(determined, 0.0) + _PULL)
        largest = _LARGEST_BLOCK**2 / sizes
        return np.asarray(np.clip(found, _SMALLEST_SPREAD**2, largest)[block_of])

    common = step(posterior.common**2, np.diag(posterior.common_covariance), spreads.common, 1)
    own = step(posterior.own_squares, posterior.own_variances, spreads.own, groups)
    return _Spreads(common, np.where(may_differ, own, spreads.own))


def _rounded(values: np.ndarray) -> np.ndarray:
    """Round to ten digits of the largest: the last bits depend on the machine, the version on the content."""
    scale = 10.0 ** (10 - np.ceil(np.log10(max(float(np.abs(values).max(initial=0.0)), 1e-30))))
    return np.round(values * scale) / scale
