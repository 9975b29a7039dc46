"""Slopes that borrow strength: a logistic model whose slopes are common to all groups in part, and their own in part.

    log odds of row i in group t = offset_i + contrast_i * (1, x_i)' (common + own_t)

`common` and `own_t` are normal around 0; how far they spread is estimated from the data by the marginal likelihood, so
that slopes which the rows do not speak for vanish, and a group with few rows follows the others. The posterior mean is
what a decision that maximises expected value needs; the posterior spread gives the intervals.

Sources: Laird and Ware (1982), Random-effects models for longitudinal data, for the model; MacKay (1992), Bayesian
interpolation, for the evidence and the steps towards it; Breslow and Clayton (1993), Approximate inference in
generalized linear mixed models, for the Laplace approximation on the log odds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ml.response.summary import SharedColumns

_ROUNDS = 12
_STEPS = 30
_SMALLEST_SPREAD = 1e-4
# All slopes of a block together move a usual row by at most about this much on the log odds, and by this to begin with.
_LARGEST_BLOCK = 1.0
_FIRST_BLOCK = 0.3
_PULL = 0.3
# Rows are believed to move by at most this much on the log odds in one round: Newton steps from a far start overshoot.
_LARGEST_STEP = 1.5
_CONVERGED = 1e-2


@dataclass(frozen=True)
class GroupedSlopes:
    """The posterior of the slopes; column 0 is the intercept.

    Attributes:
        groups: names of the groups.
        means: (groups + 1, columns + 1), the sum of common and own slopes by group; last the common ones alone.
        covariances: (groups + 1, columns + 1, columns + 1); the last includes the spread of own slopes, as it stands
            for a group never seen.
        evidence: log marginal likelihood beyond that of a model in which every slope is 0.
    """

    groups: tuple[str, ...]
    means: np.ndarray
    covariances: np.ndarray
    evidence: float

    def predict(self, x: np.ndarray | SharedColumns, group: str) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard error of (1, x)' slopes for rows (rows, columns) of a group, each (rows,)."""
        columns = _as_shared(x)
        shared, own, values = columns.shared, columns.own, columns.values
        covariance = self.covariances[self._position(group)]
        towards, inner = covariance[0, 1:], covariance[1:, 1:]
        with threadpool_limits(limits=1):
            product = shared @ inner
            of_own = values @ inner[np.ix_(own, own)]
        # The square of shared and own columns together, multiplied out: most columns are the same for every group.
        spread = np.einsum("ij,ij->i", product, shared)
        spread += 2 * (np.einsum("ij,j->i", shared, towards) + np.einsum("ij,j->i", values, towards[own]))
        spread += np.einsum("ij,ij->i", 2 * product[:, own] + of_own, values) + covariance[0, 0]
        return self.predict_mean(columns, group), np.sqrt(np.maximum(np.round(spread, 9), 0.0))

    def predict_mean(self, x: np.ndarray | SharedColumns, group: str) -> np.ndarray:
        """Return the mean that `predict` gives; the error costs many times as much."""
        columns = _as_shared(x)
        slopes = self.means[self._position(group)]
        # einsum adds up each row by itself: a user's figure does not depend on who else is asked for.
        of_own = np.einsum("ij,j->i", columns.values, slopes[1:][columns.own])
        return np.asarray(np.einsum("ij,j->i", columns.shared, slopes[1:]) + of_own + slopes[0])

    def _position(self, group: str) -> int:
        return self.groups.index(group) if group in self.groups else len(self.groups)

    def to_state(self) -> dict[str, Any]:
        """Return everything learned as arrays and JSON values."""
        return {**vars(self), "groups": list(self.groups)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "GroupedSlopes":
        """Rebuild from `to_state`."""
        return cls(tuple(state["groups"]), state["means"], state["covariances"], float(state["evidence"]))


def _as_shared(x: np.ndarray | SharedColumns) -> SharedColumns:
    if isinstance(x, SharedColumns):
        return x
    return SharedColumns(x.astype(np.float64, copy=False), np.zeros(0, dtype=np.int64), np.zeros((len(x), 0)))


@dataclass(frozen=True)
class _Spreads:
    """Prior variances of the columns (intercept first), (columns + 1,) each."""

    common: np.ndarray
    own: np.ndarray


@dataclass(frozen=True)
class _Posterior:
    common: np.ndarray
    common_covariance: np.ndarray
    sums: np.ndarray
    sum_covariances: np.ndarray
    own_squares: np.ndarray
    own_variances: np.ndarray
    evidence: float


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
    """
    names = tuple(sorted({str(name) for name in groups}))
    # One thread: sums of several add up in changing order, and the same data must give the same model.
    with threadpool_limits(limits=1):
        design = with_intercept(x)
        rows_of = [np.flatnonzero(groups == name) for name in names]
        parts = [design[rows] for rows in rows_of]
        # Block 0 is the intercept's.
        block_of = np.array([0, *(block + 1 for block in blocks)])
        first = (_FIRST_BLOCK**2 / np.bincount(block_of))[block_of]
        spreads = _Spreads(first, first if has_own_slopes else np.full(design.shape[1], 1e-12))
        linear = np.zeros(len(design))
        posterior = None
        for _ in range(_ROUNDS):
            information, score = _quadratic(parts, rows_of, linear, offset, outcome, contrast, weight)
            for _ in range(_STEPS):
                before = spreads
                known = _solve(information, score, spreads)
                spreads = _updated(known, spreads, block_of, len(names), has_own_slopes)
                changes = [
                    np.log(new / old) for new, old in ((spreads.common, before.common), (spreads.own, before.own))
                ]
                if max(np.abs(change).max() for change in changes) < _CONVERGED:
                    break
            posterior = _solve(information, score, spreads)
            step = np.zeros(len(linear))
            for part, rows, mean in zip(parts, rows_of, posterior.sums, strict=True):
                step[rows] = part @ mean - linear[rows]
            linear += np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
            if np.abs(step).max(initial=0.0) < _CONVERGED:
                break
        assert posterior is not None
        # Spreads are estimates, too: one that came out as nothing may well be something. For the errors, and for them
        # alone, every block is allowed what a cautious person would not rule out.
        doubted = _Spreads(
            np.maximum(spreads.common, first), np.maximum(spreads.own, first) if has_own_slopes else spreads.own
        )
        doubts = _solve(information, score, doubted)
    unseen = doubts.common_covariance + np.diag(doubted.own)
    return GroupedSlopes(
        names,
        _rounded(np.vstack([posterior.sums, posterior.common])),
        _rounded(np.concatenate([doubts.sum_covariances, unseen[np.newaxis]])),
        round(float(posterior.evidence), 6),
    )


def with_intercept(x: np.ndarray) -> np.ndarray:
    """Return the columns with a column of ones before them, float64."""
    return np.column_stack([np.ones(len(x)), x.astype(np.float64, copy=False)])


def _quadratic(
    parts: Sequence[np.ndarray],
    rows_of: Sequence[np.ndarray],
    linear: np.ndarray,
    offset: np.ndarray,
    outcome: np.ndarray,
    contrast: np.ndarray,
    row_weight: np.ndarray | None,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The log likelihood near the present slopes, by group: - s' information s / 2 + score' s."""
    chance = 1 / (1 + np.exp(-np.clip(offset + contrast * linear, -30, 30)))
    weight = chance * (1 - chance) * contrast**2
    target = contrast * (outcome - chance) + weight * linear
    if row_weight is not None:
        weight, target = weight * row_weight, target * row_weight
    information = [(part * weight[rows, np.newaxis]).T @ part for part, rows in zip(parts, rows_of, strict=True)]
    return information, [part.T @ target[rows] for part, rows in zip(parts, rows_of, strict=True)]


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
    sums, sum_covariances, squares, variances = [], [], np.zeros(size), np.zeros(size)
    for inverse, mix, vector in zip(inverses, mixes, score, strict=True):
        own = inverse @ vector - mix @ common
        rest = identity - mix
        sums.append(common + own)
        sum_covariances.append(inverse + rest @ covariance @ rest.T)
        squares += own**2
        variances += np.diag(inverse) + ((mix @ covariance) * mix).sum(axis=1)
    return _Posterior(common, covariance, np.array(sums), np.array(sum_covariances), squares, variances, evidence)


def _updated(posterior: _Posterior, spreads: _Spreads, block_of: np.ndarray, groups: int, has_own: bool) -> _Spreads:
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
    if not has_own:
        return _Spreads(common, spreads.own)
    return _Spreads(common, step(posterior.own_squares, posterior.own_variances, spreads.own, groups))


def _rounded(values: np.ndarray) -> np.ndarray:
    """Round to ten digits of the largest: the last bits depend on the machine, the version on the content."""
    scale = 10.0 ** (10 - np.ceil(np.log10(max(float(np.abs(values).max(initial=0.0)), 1e-30))))
    return np.round(values * scale) / scale
