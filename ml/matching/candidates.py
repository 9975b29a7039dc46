"""The pairs that may be chosen, the limits they stand under, and what users are charged for them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ml.matching.problem import MatchingProblem

CHUNK_USERS = 16_384


def chunks(users: int) -> Iterator[slice]:
    """The users in runs that fit into the processor's cache."""
    for start in range(0, users, CHUNK_USERS):
        yield slice(start, min(start + CHUNK_USERS, users))


@dataclass(frozen=True)
class Limits:
    """Every limit of a problem with its absent ones spelled out as infinite or zero.

    Attributes:
        budget: total budget.
        capacities, event_budgets, event_minimums: shape (events,).
        minimum_shares, maximum_shares: shape (segments,).
    """

    budget: float
    capacities: np.ndarray
    event_budgets: np.ndarray
    event_minimums: np.ndarray
    minimum_shares: np.ndarray
    maximum_shares: np.ndarray

    @classmethod
    def of(cls, problem: MatchingProblem) -> "Limits":
        """Read the limits of a problem."""
        events = problem.values.shape[1]

        def spelled_out(limit: np.ndarray | None, absent: float, size: int) -> np.ndarray:
            return np.full(size, absent) if limit is None else np.asarray(limit, dtype=np.float64)

        shares = (problem.segment_minimum_shares, problem.segment_maximum_shares)
        segments = max((len(share) for share in shares if share is not None), default=0)
        return cls(
            budget=np.inf if problem.budget is None else float(problem.budget),
            capacities=np.floor(spelled_out(problem.capacities, np.inf, events)),
            event_budgets=spelled_out(problem.event_budgets, np.inf, events),
            event_minimums=np.ceil(spelled_out(problem.event_minimums, 0.0, events)),
            minimum_shares=spelled_out(shares[0], 0.0, segments),
            maximum_shares=spelled_out(shares[1], 1.0, segments),
        )

    def scaled(self, share: float) -> "Limits":
        """The limits that a sample of this share of the users stands under."""
        return Limits(
            budget=self.budget * share,
            capacities=self.capacities * share,
            event_budgets=self.event_budgets * share,
            event_minimums=self.event_minimums * share,
            minimum_shares=self.minimum_shares,
            maximum_shares=self.maximum_shares,
        )


@dataclass(frozen=True)
class Candidates:
    """The pairs that may be chosen, event-major so that one pass over an event is one pass over memory.

    Attributes:
        values: shape (events, users), -inf where the pair is no candidate.
        costs: shape (events, users), or (events, 1) where the cost does not depend on the user.
        segments: shape (users,) or None.
    """

    values: np.ndarray
    costs: np.ndarray
    segments: np.ndarray | None

    @classmethod
    def of(cls, problem: MatchingProblem, limits: Limits) -> "Candidates":
        """Keep the pairs with a positive value that are allowed and whose cost fits into the budgets at all."""
        users, events = problem.values.shape
        dtype = problem.values.dtype if problem.values.dtype == np.float32 else np.float64
        if problem.costs is None:
            costs = np.zeros((events, 1), dtype=dtype)
        elif problem.costs.ndim == 1:
            costs = problem.costs.astype(dtype).reshape(events, 1)
        else:
            costs = np.ascontiguousarray(problem.costs.T, dtype=dtype)
        values = np.empty((events, users), dtype=dtype)
        for event in range(events):
            row = problem.values[:, event]
            most = min(limits.budget, limits.event_budgets[event])
            possible = row > 0
            if problem.allowed is not None:
                possible &= problem.allowed[:, event]
            if limits.capacities[event] < 1:
                possible[:] = False
            if np.isfinite(most):
                possible &= costs[event] <= most
            values[event] = -np.inf
            np.copyto(values[event], row, where=possible, casting="same_kind")
        with_shares = problem.segments is not None and limits.minimum_shares.size > 0
        return cls(values, costs, problem.segments if with_shares else None)

    @property
    def users(self) -> int:
        """Number of users."""
        return self.values.shape[1]

    @property
    def events(self) -> int:
        """Number of events."""
        return self.values.shape[0]

    def subset(self, users: np.ndarray) -> "Candidates":
        """The same pairs for some of the users, given by position."""
        costs = self.costs if self.costs.shape[1] == 1 else np.ascontiguousarray(self.costs[:, users])
        segments = None if self.segments is None else self.segments[users]
        return Candidates(np.ascontiguousarray(self.values[:, users]), costs, segments)

    def chosen_values(self, users: np.ndarray, events: np.ndarray) -> np.ndarray:
        """Values of pairs, float64."""
        return self.values[events, users].astype(np.float64)

    def chosen_costs(self, users: np.ndarray, events: np.ndarray) -> np.ndarray:
        """Costs of pairs, float64."""
        column = users if self.costs.shape[1] > 1 else np.zeros_like(users)
        return self.costs[events, column].astype(np.float64)


@dataclass(frozen=True)
class Charges:
    """Prices summed up the way a user meets them.

    Attributes:
        per_event: shape (events,), charged once for taking the event.
        per_money: shape (events,), charged for each unit of cost.
        per_segment: shape (segments,), added to every pair of a user of the segment (negative: charged).
    """

    per_event: np.ndarray
    per_money: np.ndarray
    per_segment: np.ndarray

    def reduced(self, candidates: Candidates, users: slice | np.ndarray) -> np.ndarray:
        """Values after prices of the given users, shape (events, users given), -inf for no candidate."""
        dtype = candidates.values.dtype
        reduced = candidates.values[:, users] - self.per_event.astype(dtype)[:, None]
        if self.per_money.any():
            money = self.per_money.astype(dtype)[:, None]
            reduced -= money * (candidates.costs if candidates.costs.shape[1] == 1 else candidates.costs[:, users])
        if candidates.segments is not None and self.per_segment.any():
            reduced += self.per_segment.astype(dtype)[candidates.segments[users]]
        return reduced
