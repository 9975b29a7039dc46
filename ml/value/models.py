"""What all buy-till-you-die models have in common: fitting, errors, intervals, saving."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from ml.value.errors import ValueModelError
from ml.value.likelihood import Curve, Maximum, maximise
from ml.value.purchases import PurchaseGroups, check_purchases, group_purchases, group_with_members


@dataclass(frozen=True)
class Interval:
    """A figure with its interval.

    Attributes:
        expected: the figure itself.
        low: lower bound.
        high: upper bound.
        level: share of cases in which the interval is to hold the truth.
    """

    expected: float
    low: float
    high: float
    level: float


# Groups that a first, quick search looks at when there are many.
_FIRST_LOOK = 30_000


class PurchaseModel(ABC):
    """Customers buy at a rate of their own until, unseen, they stop for good.

    Times (t_x, T, horizons) are in any one unit, days in Rekindle; rates are per that unit.

    Learned names:
        parameters_: the model's parameters by name.
        standard_errors_: their standard errors by name, NaN where the data do not tell the parameter.
        covariance_: covariance of the parameters in the order of `parameter_names`.
        log_likelihood_: at the parameters, constants that do not depend on them left out as in the papers.
        is_converged_: whether the likelihood has its maximum there; False asks for `prior_strength` or more data.
        customers_: number of customers fitted on.
        messages_: sentences a person should read.
    """

    kind: ClassVar[str]
    parameter_names: ClassVar[tuple[str, ...]]
    # Which parameters are times (scale with the unit), and where the search starts when the mean age is one unit.
    _times: ClassVar[tuple[bool, ...]]
    _starts: ClassVar[tuple[tuple[float, ...], ...]]

    def __init__(self, *, prior_strength: float = 0.0) -> None:
        self.prior_strength = prior_strength
        self.parameters_: dict[str, float] = {}
        self.standard_errors_: dict[str, float] = {}
        self.covariance_ = np.empty((0, 0))
        self.log_likelihood_ = np.nan
        self.is_converged_ = False
        self.customers_ = 0
        self.messages_: tuple[str, ...] = ()

    def fit(self, x: ArrayLike, t_x: ArrayLike, T: ArrayLike) -> Self:
        """Learn the parameters by maximum likelihood.

        Args:
            x: number of repeat purchases, shape (customers,).
            t_x: age at the last repeat purchase, 0 when there was none.
            T: age at the end of the observation.
        """
        return self.fit_groups(group_purchases(x, t_x, T))

    def fit_groups(self, groups: PurchaseGroups) -> Self:
        """Learn from histories that are grouped already."""
        if groups.total == 0:
            raise ValueModelError("Give at least one customer who paid: nothing can be learned from none.")
        unit = float((groups.T * groups.customers).sum() / groups.total)
        if not unit > 0:
            raise ValueModelError("Wait a day: every customer paid for the first time at the end of the observation.")
        self._accept(self._maximise(groups.scaled(unit), self._starts), groups, unit)
        return self

    def p_alive(self, x: ArrayLike, t_x: ArrayLike, T: ArrayLike) -> np.ndarray:
        """Chance that a customer with this history has not stopped, shape (customers,)."""
        counts, recency, age, members = group_with_members(x, t_x, T)
        return self._p_alive(counts, recency, age)[members]

    def expected_purchases(self, horizon: float, x: ArrayLike, t_x: ArrayLike, T: ArrayLike) -> np.ndarray:
        """Purchases to expect within `horizon` after T from customers with this history, shape (customers,)."""
        counts, recency, age, members = group_with_members(x, t_x, T)
        return (self._p_alive(counts, recency, age) * self._grouped_if_alive(horizon, counts, age))[members]

    def expected_purchases_if_alive(self, horizon: float, x: ArrayLike, T: ArrayLike) -> np.ndarray:
        """The same of customers who are known not to have stopped: what a return brings."""
        counts, _, age, members = group_with_members(x, 0.0 if np.ndim(x) == 0 else np.zeros(np.shape(x)), T)
        return self._expected_if_alive(_horizon(horizon), counts, age)[members]

    @abstractmethod
    def expected_purchases_of_new_customer(self, horizon: float) -> float:
        """Repeat purchases to expect of a customer within `horizon` after the first purchase."""

    @abstractmethod
    def simulate(self, T: ArrayLike, *, random_state: int | np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw histories (x, t_x) of customers of ages T from the model."""

    @abstractmethod
    def simulate_future(
        self, horizon: float, x: ArrayLike, t_x: ArrayLike, T: ArrayLike, *, random_state: int | np.random.Generator
    ) -> np.ndarray:
        """Draw the numbers of purchases within `horizon` after T of customers with this history, shape (customers,)."""

    def bootstrap(self, T: ArrayLike, *, draws: int = 200, random_state: int) -> list[Self]:
        """Parametric bootstrap: models fitted to histories drawn from this one for customers of ages T."""
        self._check_is_fitted()
        generator = np.random.default_rng(random_state)
        age = np.asarray(T, dtype=float)
        replicas: list[Self] = []
        for _ in range(draws):
            x, t_x = self.simulate(age, random_state=generator)
            replica = type(self)(prior_strength=self.prior_strength)
            groups = group_purchases(x, t_x, age)
            unit = float(age.mean())
            near = self._in_unit(unit)
            # The prior, if there is one, stays where it was; the search starts at the parameters drawn from.
            starts = (near, *self._starts) if not self.prior_strength else (*self._starts, near)
            replica._accept(replica._maximise(groups.scaled(unit), starts), groups, unit)
            replicas.append(replica)
        return replicas

    def total_interval(
        self,
        horizon: float,
        x: ArrayLike,
        t_x: ArrayLike,
        T: ArrayLike,
        *,
        level: float = 0.95,
        draws: int = 200,
        random_state: int,
    ) -> Interval:
        """Purchases that these customers will make together within `horizon`, with a prediction interval.

        Each draw fits the model to a world drawn from it (doubt about the parameters) and draws the customers' future
        from that fit (chance); the interval holds the middle `level` of the sums. Its ends are taken so that one more
        sum would fall between them with that chance (p (n + 1)), which matters when draws are few.
        """
        generator = np.random.default_rng(random_state)
        replicas = self.bootstrap(T, draws=draws, random_state=random_state)
        sums = [float(one.simulate_future(horizon, x, t_x, T, random_state=generator).sum()) for one in replicas]
        low, high = np.quantile(sums, [(1 - level) / 2, (1 + level) / 2], method="weibull")
        expected = float(self.expected_purchases(horizon, x, t_x, T).sum())
        return Interval(expected, float(low), float(high), level)

    def to_state(self) -> dict[str, Any]:
        """Everything learned, as arrays and JSON values."""
        self._check_is_fitted()
        return {
            "kind": self.kind,
            "prior_strength": self.prior_strength,
            "parameters": np.array([self.parameters_[name] for name in self.parameter_names]),
            "covariance": self.covariance_,
            "log_likelihood": float(self.log_likelihood_),
            "is_converged": self.is_converged_,
            "customers": self.customers_,
            "messages": list(self.messages_),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild from `to_state`."""
        if state["kind"] != cls.kind:
            raise ValueModelError(f"Read this state as {state['kind']}: it is none of {cls.kind}.")
        model = cls(prior_strength=float(state["prior_strength"]))
        model._set_parameters(
            np.asarray(state["parameters"], dtype=float), np.asarray(state["covariance"], dtype=float)
        )
        model.log_likelihood_ = float(state["log_likelihood"])
        model.is_converged_ = bool(state["is_converged"])
        model.customers_ = int(state["customers"])
        model.messages_ = tuple(state["messages"])
        return model

    @classmethod
    def from_parameters(cls, **parameters: float) -> Self:
        """A model with given parameters, for simulation and for figures from the literature."""
        if set(parameters) != set(cls.parameter_names) or not all(value > 0 for value in parameters.values()):
            raise ValueModelError(f"Give positive {', '.join(cls.parameter_names)}.")
        model = cls()
        values = np.array([parameters[name] for name in cls.parameter_names], dtype=float)
        model._set_parameters(values, np.full((len(values), len(values)), np.nan))
        model.is_converged_ = True
        return model

    @abstractmethod
    def _curve(self, groups: PurchaseGroups) -> "Any":
        """A function from parameters to log-likelihood, gradient and Hessian for these histories."""

    @abstractmethod
    def _p_alive(self, x: np.ndarray, t_x: np.ndarray, T: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def _expected_if_alive(self, horizon: float, x: np.ndarray, T: np.ndarray) -> np.ndarray: ...

    def _grouped_if_alive(self, horizon: float, x: np.ndarray, T: np.ndarray) -> np.ndarray:
        """Recency does not matter to who is alive: the costly part is done once per (x, T)."""
        counts, _, age, members = group_with_members(x, np.zeros(len(x)), T)
        return self._expected_if_alive(_horizon(horizon), counts, age)[members]

    def _maximise(self, groups: PurchaseGroups, starts: tuple[tuple[float, ...], ...]) -> Maximum:
        if len(groups.x) > 2 * _FIRST_LOOK and not self.prior_strength:
            # Every so many-th history tells nearly where the maximum is; all of them are then needed for a few steps.
            thin = slice(None, None, len(groups.x) // _FIRST_LOOK)
            some = groups.take(thin)
            near = maximise(self._curve(some), starts, weight=some.total)
            if near.is_reached:
                starts = (tuple(near.parameters), *starts)
        return maximise(self._curve(groups), starts, weight=groups.total, prior_strength=self.prior_strength)

    def _accept(self, found: Maximum, groups: PurchaseGroups, unit: float) -> None:
        factor = np.where(self._times, unit, 1.0)
        self._set_parameters(found.parameters * factor, found.covariance * np.outer(factor, factor))
        # A density of times changes with the unit: one factor a repeat purchase.
        self.log_likelihood_ = found.log_likelihood - float((groups.x * groups.customers).sum()) * np.log(unit)
        self.is_converged_ = found.is_reached
        self.customers_ = int(groups.total)
        self.messages_ = ()
        if not found.is_reached:
            self.messages_ = (
                f"The purchases of {self.customers_} customers do not determine the {self.kind} model; "
                "its parameters lie where the search ended.",
            )

    def _set_parameters(self, values: np.ndarray, covariance: np.ndarray) -> None:
        self.parameters_ = {name: float(value) for name, value in zip(self.parameter_names, values, strict=True)}
        self.covariance_ = covariance
        errors = np.sqrt(np.diag(covariance))
        self.standard_errors_ = {name: float(error) for name, error in zip(self.parameter_names, errors, strict=True)}

    def _in_unit(self, unit: float) -> tuple[float, ...]:
        values = np.array([self.parameters_[name] for name in self.parameter_names])
        return tuple(values / np.where(self._times, unit, 1.0))

    def _check_is_fitted(self) -> None:
        if not self.parameters_:
            raise ValueModelError("Call fit first: nothing was learned yet.")

    def _values(self) -> tuple[float, ...]:
        self._check_is_fitted()
        return tuple(self.parameters_[name] for name in self.parameter_names)


def _horizon(horizon: float) -> float:
    if not 0 <= horizon < np.inf:
        raise ValueModelError(f"Give a horizon of at least 0; it is {horizon}.")
    return float(horizon)


def draws_from(random_state: int | np.random.Generator) -> np.random.Generator:
    """The generator given, or a new one from the seed given."""
    return np.random.default_rng(random_state)


def checked_ages(x: ArrayLike, t_x: ArrayLike, T: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Histories ready for simulation; see `check_purchases`."""
    return check_purchases(x, t_x, T)


__all__ = ["Curve", "Interval", "PurchaseModel", "checked_ages", "draws_from"]
