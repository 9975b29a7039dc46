"""What a policy (invite or not) would have brought, and uplift scores on the scale others publish."""

from dataclasses import dataclass

import numpy as np
from scipy.integrate import trapezoid

from ml.response.selection import clustered_mean

_TWO_SIDED_95 = 1.959964


@dataclass(frozen=True)
class PolicyValue:
    """Mean outcome a row under a policy, with its standard error (rows of a user taken together)."""

    value: float
    standard_error: float

    def interval(self) -> tuple[float, float]:
        """95 % interval."""
        half = _TWO_SIDED_95 * self.standard_error
        return self.value - half, self.value + half


def inverse_propensity_value(
    outcome: np.ndarray, is_exposed: np.ndarray, propensity: np.ndarray, invites: np.ndarray, user_ids: np.ndarray
) -> PolicyValue:
    """Return the mean outcome if `invites` had been done, from rows in which it happened to be done.

    Args:
        outcome: what happened, (rows,).
        is_exposed: who was invited, bool, (rows,).
        propensity: chance of having been invited, strictly within 0 and 1, (rows,).
        invites: whom the policy invites, bool, (rows,).
        user_ids: who a row belongs to, (rows,).

    Source:
        Horvitz and Thompson (1952), with weights that add up to the rows (Hajek).
    """
    weight = _match(is_exposed, invites) / np.where(is_exposed, propensity, 1 - propensity)
    value, error = clustered_mean(outcome, user_ids, weight)
    return PolicyValue(value, error)


def doubly_robust_rows(
    outcome: np.ndarray,
    is_exposed: np.ndarray,
    propensity: np.ndarray,
    invites: np.ndarray,
    expected_exposed: np.ndarray,
    expected_alone: np.ndarray,
) -> np.ndarray:
    """Return what each row says of a policy: what a model expects, corrected where the policy was followed, (rows,).

    Their mean is the mean outcome under the policy. It is right when either the expectations or the propensities are;
    where assignment was randomised it always is. Differences of two policies are taken row by row.

    Args:
        outcome, is_exposed, propensity, invites: as for `inverse_propensity_value`.
        expected_exposed: outcome a model expects if invited, (rows,).
        expected_alone: the same if left alone, (rows,).

    Source:
        Dudik, Langford and Li (2011), Doubly robust policy evaluation and learning.
    """
    expected = np.where(invites, expected_exposed, expected_alone)
    followed = _match(is_exposed, invites) / np.where(is_exposed, propensity, 1 - propensity)
    return np.asarray(expected + followed * (outcome - expected))


def policy_value(rows: np.ndarray, user_ids: np.ndarray) -> PolicyValue:
    """Return the mean of `doubly_robust_rows`, rows of a user taken together."""
    return PolicyValue(*clustered_mean(rows, user_ids, np.ones(len(rows))))


def normalised_qini(outcome: np.ndarray, is_exposed: np.ndarray, score: np.ndarray) -> float:
    """Return the area of the Qini curve above a random order, as a share of that of the perfect order.

    Source:
        Radcliffe (2007), Using control groups to target on predicted lift, as scikit-uplift's qini_auc_score has it:
        the perfect order takes exposed responders first and unexposed ones last. Outcomes are 0 or 1.
    """
    perfect = outcome * np.where(is_exposed, 1.0, -1.0)
    return _share_of_perfect(_qini_curve, outcome, is_exposed, score, perfect)


def normalised_area_under_uplift(outcome: np.ndarray, is_exposed: np.ndarray, score: np.ndarray) -> float:
    """Return the area of the cumulative uplift above a random order, as a share of that of the perfect order.

    Source:
        scikit-uplift's uplift_auc_score. Outcomes are 0 or 1.
    """
    exposed = is_exposed.astype(float)
    alone = outcome[~is_exposed]
    perfect = 2.0 * (outcome == exposed) + (outcome if alone.sum() > len(alone) - alone.sum() else exposed)
    return _share_of_perfect(_uplift_curve, outcome, is_exposed, score, perfect)


def uplift_at(outcome: np.ndarray, is_exposed: np.ndarray, score: np.ndarray, share: float) -> float:
    """Return the difference of the arms' means among the share of rows with the highest score.

    Source:
        scikit-uplift's uplift_at_k with the strategy "overall".
    """
    first = np.argsort(-score, kind="stable")[: int(len(score) * share)]
    chosen = is_exposed[first]
    return float(outcome[first][chosen].mean() - outcome[first][~chosen].mean())


def _match(is_exposed: np.ndarray, invites: np.ndarray) -> np.ndarray:
    return (is_exposed == invites).astype(float)


def _cumulated(outcome: np.ndarray, is_exposed: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, ...]:
    """Rows, exposed rows and outcomes of both arms when rows are taken by falling score, those of one score at once."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    exposed = is_exposed[order].astype(float)
    sums = (np.cumsum(column)[ends] for column in (exposed, outcome[order] * exposed, outcome[order] * (1 - exposed)))
    return (ends + 1.0, *sums)


def _qini_curve(outcome: np.ndarray, is_exposed: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, exposed, gained, gained_alone = _cumulated(outcome, is_exposed, score)
    alone = rows - exposed
    ratio = np.divide(exposed, alone, out=np.zeros(len(rows)), where=alone > 0)
    return np.append(0.0, rows), np.append(0.0, gained - gained_alone * ratio)


def _uplift_curve(outcome: np.ndarray, is_exposed: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, exposed, gained, gained_alone = _cumulated(outcome, is_exposed, score)
    alone = rows - exposed
    rate = np.divide(gained, exposed, out=np.zeros(len(rows)), where=exposed > 0)
    rate_alone = np.divide(gained_alone, alone, out=np.zeros(len(rows)), where=alone > 0)
    return np.append(0.0, rows), np.append(0.0, (rate - rate_alone) * rows)


def _share_of_perfect(
    curve: object, outcome: np.ndarray, is_exposed: np.ndarray, score: np.ndarray, perfect: np.ndarray
) -> float:
    assert callable(curve)
    rows, values = curve(outcome, is_exposed, score)
    best_rows, best_values = curve(outcome, is_exposed, perfect)
    random = best_rows[-1] * best_values[-1] / 2
    return float((trapezoid(values, rows) - random) / (trapezoid(best_values, best_rows) - random))
