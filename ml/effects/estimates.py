"""Effects with intervals from sufficient statistics alone: difference in means, CUPED, return on investment."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ml.effects.errors import EffectsError
from ml.effects.statistics import EffectStatistic


@dataclass(frozen=True)
class Estimate:
    """A figure and how sure it is.

    Attributes:
        value: the estimate, in units of the outcome.
        error: its standard error.
        degrees_of_freedom: of Student's t, for the interval and the p-value.
    """

    value: float
    error: float
    degrees_of_freedom: float = math.inf

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Two-sided interval that covers the truth in `confidence` of all samples."""
        width = float(stats.t.ppf(0.5 + confidence / 2, self.degrees_of_freedom)) * self.error
        return self.value - width, self.value + width

    @property
    def p_value(self) -> float:
        """Two-sided p-value of "there is no effect"; 1 where the estimate is exactly 0 and has no error."""
        if self.error == 0.0:
            return 1.0 if self.value == 0.0 else 0.0
        return float(2 * stats.t.sf(abs(self.value) / self.error, self.degrees_of_freedom))


def estimate_difference(statistic: EffectStatistic, outcome: str, covariates: tuple[str, ...] = ()) -> Estimate:
    """Estimate the weighted mean of the exposed minus that of the controls, less what the covariates explain.

    With weights 1 / P(own arm) this is Hajek's inverse-probability estimator; with equal weights Welch's comparison,
    digit by digit. Covariates known before the exposure take out chance differences between the arms (CUPED: Deng,
    Xu, Kohavi, Walker 2013) with the coefficients that make the variance smallest. The variance is that of the
    linearised estimator, clustered by user, with Welch and Satterthwaite's degrees of freedom.

    Raises:
        EffectsError: an arm has less than two effective users.
    """
    _require_two_arms(statistic)
    names = (outcome, *covariates)
    coefficients = np.column_stack([_difference_coefficients(statistic, name) for name in names])
    differences = np.array(
        [statistic.mean(name, is_exposed=True) - statistic.mean(name, is_exposed=False) for name in names]
    )
    covariance = coefficients.T @ statistic.products @ coefficients
    theta = np.zeros(len(covariates))
    if covariates:
        theta = np.linalg.lstsq(covariance[1:, 1:], covariance[1:, 0], rcond=1e-10)[0]
    combination = coefficients @ np.concatenate([[1.0], -theta])
    value = differences[0] - float(theta @ differences[1:])
    return Estimate(value, *_spread(statistic, combination))


def estimate_return_on_investment(
    statistic: EffectStatistic, revenue: str, cost: str, covariates: tuple[str, ...] = ()
) -> Estimate | None:
    """Estimate (revenue the exposure added - its cost) / its cost by the delta method; None where it cost nothing.

    The cost is that of the exposed rows; it is random where a reward is paid to those who respond, and goes together
    with the revenue, so their covariance enters. Covariates act on the revenue as in `estimate_difference`.
    """
    _require_two_arms(statistic)
    mean_cost = statistic.mean(cost, is_exposed=True)
    if mean_cost <= 0:
        return None
    names = (revenue, *covariates)
    coefficients = np.column_stack([_difference_coefficients(statistic, name) for name in names])
    covariance = coefficients.T @ statistic.products @ coefficients
    theta = np.zeros(len(covariates))
    if covariates:
        theta = np.linalg.lstsq(covariance[1:, 1:], covariance[1:, 0], rcond=1e-10)[0]
    added = estimate_difference(statistic, revenue, covariates).value
    cost_coefficients = _difference_coefficients(statistic, cost)
    cost_coefficients[1 + len(statistic.variables) :] = 0.0
    combination = coefficients @ np.concatenate([[1.0], -theta])
    combination = combination / mean_cost - cost_coefficients * (added / mean_cost**2)
    return Estimate(added / mean_cost - 1.0, *_spread(statistic, combination))


def _require_two_arms(statistic: EffectStatistic) -> None:
    """Refuse statistics from which no variance can be had."""
    if min(statistic.effective_users(is_exposed=True), statistic.effective_users(is_exposed=False)) <= 1.0:
        raise EffectsError("A difference needs at least two users in each arm; show no number for this cell.")


def _difference_coefficients(statistic: EffectStatistic, variable: str) -> np.ndarray:
    """Weights that turn a user's totals into the user's influence on the difference of the arms' means.

    The factor n / (n - 1) of an unbiased variance is within, by arm, with the effective number of users as n.
    """
    width = 1 + len(statistic.variables)
    coefficients = np.zeros(2 * width)
    for block, sign in ((0, 1.0), (1, -1.0)):
        is_exposed = block == 0
        users = statistic.effective_users(is_exposed=is_exposed)
        scale = sign * math.sqrt(users / (users - 1.0)) / statistic.totals[block, 0]
        coefficients[block * width] = -scale * statistic.mean(variable, is_exposed=is_exposed)
        coefficients[block * width + statistic.position(variable)] = scale
    return coefficients


def _spread(statistic: EffectStatistic, combination: np.ndarray) -> tuple[float, float]:
    """Standard error and degrees of freedom of a combination of the users' totals."""
    width = 1 + len(statistic.variables)
    variance = max(float(combination @ statistic.products @ combination), 0.0)
    parts, denominator = 0.0, 0.0
    for block in (0, 1):
        inside = slice(block * width, (block + 1) * width)
        part = max(float(combination[inside] @ statistic.products[inside, inside] @ combination[inside]), 0.0)
        parts += part
        denominator += part**2 / (statistic.effective_users(is_exposed=block == 0) - 1.0)
    return math.sqrt(variance), parts**2 / denominator if denominator > 0 else math.inf
