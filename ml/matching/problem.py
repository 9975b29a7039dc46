"""What is to be decided and what came out: the problem, the plan, and what a plan may not do."""

from dataclasses import dataclass, field

import numpy as np


class MatchingError(ValueError):
    """The problem cannot be read as one: wrong shapes, negative costs, shares outside 0 to 1."""


@dataclass(frozen=True)
class MatchingProblem:
    """Who could get what, what it is worth, what it costs, and what limits the choice.

    A pair (user, event) is a candidate when it is allowed and its value is above zero: nobody is invited at a loss,
    not even to fill a minimum. Arrays may be float32 or float64; an event-major layout (`values.T` contiguous) is read
    without a copy.

    Attributes:
        values: shape (users, events), money the invitation adds. NaN is refused.
        costs: shape (users, events) or (events,), money the invitation costs, at least 0. None costs nothing.
        allowed: shape (users, events), False where the user must not get the event. None allows every pair.
        budget: money all chosen pairs may cost together; None is no limit.
        capacities: shape (events,), most users an event can take, inf where there is no limit. None is no limit.
        event_budgets: shape (events,), money the pairs of an event may cost, inf where there is no limit.
        event_minimums: shape (events,), least users an event needs, 0 where it needs none.
        segments: shape (users,), code 0, 1, ... of the user's segment. Needed for shares.
        segment_minimum_shares: shape (segments,), least share of all chosen users that a segment must make up.
        segment_maximum_shares: shape (segments,), largest share of all chosen users that a segment may make up.
    """

    values: np.ndarray
    costs: np.ndarray | None = None
    allowed: np.ndarray | None = None
    budget: float | None = None
    capacities: np.ndarray | None = None
    event_budgets: np.ndarray | None = None
    event_minimums: np.ndarray | None = None
    segments: np.ndarray | None = None
    segment_minimum_shares: np.ndarray | None = None
    segment_maximum_shares: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be a problem, with a sentence that says what to correct."""
        if self.values.ndim != 2:
            raise MatchingError("Values must have shape (users, events).")
        users, events = self.values.shape
        if np.isnan(self.values).any():
            raise MatchingError("Values must not be NaN: leave a pair out with `allowed` instead.")
        if self.costs is not None:
            if self.costs.shape not in ((users, events), (events,)):
                raise MatchingError("Costs must have shape (users, events) or (events,).")
            if not (np.isfinite(self.costs).all() and (self.costs >= 0).all()):
                raise MatchingError("Costs must be finite and at least 0.")
        if self.allowed is not None and self.allowed.shape != (users, events):
            raise MatchingError("The mask of allowed pairs must have the shape of the values.")
        if self.budget is not None and not self.budget >= 0:
            raise MatchingError("The budget must be at least 0, or None for no limit.")
        for name in ("capacities", "event_budgets", "event_minimums"):
            limit = getattr(self, name)
            if limit is not None and (np.shape(limit) != (events,) or not (np.asarray(limit) >= 0).all()):
                raise MatchingError(f"{name} must hold one number of at least 0 for each of the {events} events.")
        self._check_segments(users)

    def _check_segments(self, users: int) -> None:
        """Shares need segments, one code a user, and lie between 0 and 1."""
        shares = [share for share in (self.segment_minimum_shares, self.segment_maximum_shares) if share is not None]
        if not shares:
            return
        if self.segments is None or self.segments.shape != (users,):
            raise MatchingError("Shares per segment need `segments`, one code for each user.")
        for share in shares:
            if not ((np.asarray(share) >= 0) & (np.asarray(share) <= 1)).all():
                raise MatchingError("Shares per segment must lie between 0 and 1.")
            if users and int(self.segments.max()) >= len(share):
                raise MatchingError("There are segments without a share: give one share for each code.")


@dataclass(frozen=True)
class MatchingPrices:
    """What one more unit of each limit would add to the value, at the solution of the dual.

    Attributes:
        budget: value of one more unit of money in the whole budget.
        capacities: shape (events,), value of one more place in each event.
        event_budgets: shape (events,), value of one more unit of money in each event's budget.
        event_minimums: shape (events,), value lost for each user the event's minimum forces in.
        segments: shape (segments,), what a user of the segment is charged (or paid, if negative) by the shares.
    """

    budget: float
    capacities: np.ndarray
    event_budgets: np.ndarray
    event_minimums: np.ndarray
    segments: np.ndarray


@dataclass(frozen=True)
class MatchingPlan:
    """Who gets what, and how far from the best possible choice this can be at most.

    Attributes:
        event: shape (users,), column of the chosen event, -1 for none.
        value: value of all chosen pairs.
        cost: cost of all chosen pairs.
        upper_bound: no feasible choice is worth more than this (weak duality, evaluated in float64).
        prices: what the limits are worth at the margin.
        shortfalls: limits from below (minimums, least shares) that are not met, in words; empty when all are met.
    """

    event: np.ndarray
    value: float
    cost: float
    upper_bound: float
    prices: MatchingPrices
    shortfalls: tuple[str, ...] = field(default=())

    @property
    def gap(self) -> float:
        """Certified distance to the optimum, as a share of the upper bound (0 when nothing could be won)."""
        if self.upper_bound <= 0:
            return 0.0
        return max(0.0, (self.upper_bound - self.value) / self.upper_bound)

    @property
    def is_feasible(self) -> bool:
        """Whether every limit is kept. Limits from above always are; minimums may be out of reach."""
        return not self.shortfalls

    @property
    def chosen(self) -> int:
        """Number of users that get an event."""
        return int(np.count_nonzero(self.event >= 0))
