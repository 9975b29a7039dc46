"""What the warehouse must add up so that an experiment can be read without its rows: sufficient statistics.

They carry counts, sums, squares and cross products alone, add up over days and strata with `+`, and every formula of
this room works on them. All are per assigned user: a user who did nothing counts with zero.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from ml.experiments.assignment import ExperimentError


def _sample_variance(n: int, total: float, total_of_squares: float) -> float:
    """Variance with n - 1, 0 for a single value; rounding may not make it negative."""
    return max(0.0, (total_of_squares - total * total / n) / (n - 1)) if n > 1 else 0.0


@dataclass(frozen=True)
class MeanStatistic:
    """A figure per user, for example revenue.

    Attributes:
        n: users.
        total: sum over users.
        total_of_squares: sum of squares over users.
    """

    n: int
    total: float
    total_of_squares: float

    def __add__(self, other: Self) -> "MeanStatistic":
        return MeanStatistic(self.n + other.n, self.total + other.total, self.total_of_squares + other.total_of_squares)

    @classmethod
    def of(cls, values: np.ndarray) -> "MeanStatistic":
        """The statistic of values at hand, one a user."""
        return cls(int(values.size), float(values.sum()), float((values * values).sum()))

    @property
    def mean(self) -> float:
        """Mean per user."""
        return self.total / _users(self.n)

    @property
    def variance(self) -> float:
        """Variance between users."""
        return _sample_variance(_users(self.n), self.total, self.total_of_squares)


@dataclass(frozen=True)
class ProportionStatistic:
    """A yes or no per user, for example returned.

    Attributes:
        n: users.
        total: users with a yes.
    """

    n: int
    total: int

    def __post_init__(self) -> None:
        """Refuse more yes than users."""
        if not 0 <= self.total <= self.n:
            raise ExperimentError("A proportion needs between 0 and n users with a yes.")

    def __add__(self, other: Self) -> "ProportionStatistic":
        return ProportionStatistic(self.n + other.n, self.total + other.total)

    @property
    def mean(self) -> float:
        """Share of yes."""
        return self.total / _users(self.n)

    @property
    def variance(self) -> float:
        """Variance of one user's yes or no, p (1 - p)."""
        return self.mean * (1 - self.mean)


@dataclass(frozen=True)
class RatioStatistic:
    """A ratio of two sums over users, for example revenue per session. Its variance is that of the delta method.

    Attributes:
        n: users.
        total, total_of_squares: of the numerator.
        base_total, base_total_of_squares: of the denominator.
        total_of_products: sum of numerator times denominator.
    """

    n: int
    total: float
    total_of_squares: float
    base_total: float
    base_total_of_squares: float
    total_of_products: float

    def __add__(self, other: Self) -> "RatioStatistic":
        return RatioStatistic(*(mine + its for mine, its in zip(_fields(self), _fields(other), strict=True)))

    @classmethod
    def of(cls, values: np.ndarray, base: np.ndarray) -> "RatioStatistic":
        """The statistic of a numerator and a denominator at hand, one of each a user."""
        squares, base_squares = float((values * values).sum()), float((base * base).sum())
        products = float((values * base).sum())
        return cls(int(values.size), float(values.sum()), squares, float(base.sum()), base_squares, products)

    @property
    def counted(self) -> float:
        """Effective number of users in the denominator: users with a yes, or as many equal ones as would vary so."""
        return self.base_total**2 / self.base_total_of_squares if self.base_total_of_squares > 0 else 0.0

    @property
    def mean(self) -> float:
        """The ratio of the sums.

        Raises:
            ExperimentError: the denominator is 0.
        """
        if self.base_total == 0:
            raise ExperimentError("A ratio has a denominator of 0: nobody in this arm has what it is counted by.")
        return self.total / self.base_total

    @property
    def variance(self) -> float:
        """Variance for one user: n times that of the ratio (Deng et al. 2018)."""
        n = _users(self.n)
        ratio, base_mean = self.mean, self.base_total / n
        numerator = _sample_variance(n, self.total, self.total_of_squares)
        denominator = _sample_variance(n, self.base_total, self.base_total_of_squares)
        covariance = (self.total_of_products - self.total * self.base_total / n) / (n - 1) if n > 1 else 0.0
        return max(0.0, (numerator - 2 * ratio * covariance + ratio * ratio * denominator) / (base_mean * base_mean))


@dataclass(frozen=True)
class CovariateStatistic:
    """A figure per user with the same user's figure from before the experiment (CUPED, Deng et al. 2013).

    Attributes:
        n: users.
        total, total_of_squares: of the outcome.
        before_total, before_total_of_squares: of the figure from before.
        total_of_products: sum of outcome times figure from before.
    """

    n: int
    total: float
    total_of_squares: float
    before_total: float
    before_total_of_squares: float
    total_of_products: float

    def __add__(self, other: Self) -> "CovariateStatistic":
        return CovariateStatistic(*(mine + its for mine, its in zip(_fields(self), _fields(other), strict=True)))

    @classmethod
    def of(cls, values: np.ndarray, before: np.ndarray) -> "CovariateStatistic":
        """The statistic of outcomes and figures from before at hand, one of each a user."""
        squares, before_squares = float((values * values).sum()), float((before * before).sum())
        products = float((values * before).sum())
        return cls(int(values.size), float(values.sum()), squares, float(before.sum()), before_squares, products)

    @property
    def counted(self) -> float:
        """Users the mean is taken over: all."""
        return float(self.n)

    @property
    def covariance(self) -> float:
        """Covariance of outcome and figure from before, between users."""
        n = _users(self.n)
        return (self.total_of_products - self.total * self.before_total / n) / (n - 1) if n > 1 else 0.0

    @property
    def before_variance(self) -> float:
        """Variance of the figure from before, between users."""
        return _sample_variance(_users(self.n), self.before_total, self.before_total_of_squares)

    def adjusted(self, theta: float, before_mean: float) -> MeanStatistic:
        """The statistic of outcome - theta * (figure from before - `before_mean`).

        Args:
            theta: slope, the same for all arms (`cuped_slope`).
            before_mean: mean of the figure from before over all arms, so that the level stays that of the outcome.
        """
        level = theta * before_mean
        total = self.total - theta * self.before_total + self.n * level
        centred = self.total_of_squares - 2 * theta * self.total_of_products
        centred += theta * theta * self.before_total_of_squares
        squares = centred + 2 * level * (self.total - theta * self.before_total) + self.n * level * level
        return MeanStatistic(self.n, total, squares)


Statistic = MeanStatistic | ProportionStatistic | RatioStatistic


def cuped_slope(*arms: CovariateStatistic) -> float:
    """The slope that takes most variance out: covariance over variance, pooled within the arms; 0 without variance."""
    covariance = sum(arm.covariance * (arm.n - 1) for arm in arms)
    variance = sum(arm.before_variance * (arm.n - 1) for arm in arms)
    return covariance / variance if variance > 0 else 0.0


def cuped(*arms: CovariateStatistic) -> tuple[MeanStatistic, ...]:
    """The arms' outcomes with what was known before taken out, by one slope around one mean."""
    theta = cuped_slope(*arms)
    before_mean = sum(arm.before_total for arm in arms) / _users(sum(arm.n for arm in arms))
    return tuple(arm.adjusted(theta, before_mean) for arm in arms)


def adjusted(
    control: Statistic | CovariateStatistic, treatment: Statistic | CovariateStatistic
) -> tuple[Statistic, Statistic]:
    """Two arms as they are compared: with what was known before taken out where both carry it.

    Raises:
        ExperimentError: only one of them carries it.
    """
    if isinstance(control, CovariateStatistic) and isinstance(treatment, CovariateStatistic):
        first, second = cuped(control, treatment)
        return first, second
    if isinstance(control, CovariateStatistic) or isinstance(treatment, CovariateStatistic):
        raise ExperimentError("Only one of the arms has figures from before: give both or none.")
    return control, treatment


def _users(n: int) -> int:
    """The number of users, which a mean needs at least one of.

    Raises:
        ExperimentError: there are none.
    """
    if n <= 0:
        raise ExperimentError("An arm without users has no mean: wait until users are assigned to it.")
    return n


def _fields(statistic: RatioStatistic | CovariateStatistic) -> tuple:
    """The values of a statistic in the order of its fields."""
    return tuple(vars(statistic).values())
