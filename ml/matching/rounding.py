"""From prices to a plan that keeps every limit from above: propose, accept what fits, propose again.

Users propose to the event that is best for them after prices; an event accepts the best proposals that fit its places
and budgets and turns the others away, who then propose to what is still open. The first rounds serve only users who
gain after prices; the later ones spend what is left on anybody with a positive value (residual fill).
"""

import math
from dataclasses import dataclass

import numpy as np

from ml.matching.candidates import Candidates, Charges, Limits, chunks
from ml.matching.dual import best_choices

POOL_USERS = 100_000
MOST_ROUNDS = 60


@dataclass
class Draft:
    """A plan in the making: who has what, and what is left of each limit.

    Attributes:
        event: shape (users,), -1 for none.
        places: shape (events,), users each event still takes.
        money: what is left of the whole budget.
        event_money: shape (events,), what is left of each event's budget.
    """

    event: np.ndarray
    places: np.ndarray
    money: float
    event_money: np.ndarray

    @classmethod
    def empty(cls, users: int, limits: Limits) -> "Draft":
        """Nobody has anything and everything is left."""
        return cls(
            np.full(users, -1, dtype=np.int16), limits.capacities.copy(), limits.budget, limits.event_budgets.copy()
        )

    def give(self, candidates: Candidates, users: np.ndarray, event: int) -> None:
        """Give the users the event and take it off the limits."""
        costs = candidates.chosen_costs(users, np.full(users.size, event))
        self.event[users] = event
        self.places[event] -= users.size
        self.event_money[event] -= math.fsum(costs)
        self.money -= math.fsum(costs)

    def recount(self, candidates: Candidates, limits: Limits) -> None:
        """Work out what is left anew, free of the rounding that differences gather."""
        taken = np.flatnonzero(self.event >= 0)
        costs = candidates.chosen_costs(taken, self.event[taken])
        self.money = limits.budget - math.fsum(costs)
        for event in range(candidates.events):
            of_event = costs[self.event[taken] == event]
            self.places[event] = limits.capacities[event] - of_event.size
            self.event_money[event] = limits.event_budgets[event] - math.fsum(of_event)


def best_first(scores: np.ndarray, most: float) -> np.ndarray:
    """Positions of the `most` highest scores, ties to the earlier position, in order of position."""
    if scores.size <= most:
        return np.arange(scores.size)
    most = int(most)
    if most <= 0:
        return np.empty(0, dtype=np.intp)
    threshold = np.partition(scores, scores.size - most)[scores.size - most]
    above = scores > threshold
    tied = np.flatnonzero(scores == threshold)[: most - int(above.sum())]
    above[tied] = True
    return np.flatnonzero(above)


def within_money(scores: np.ndarray, costs: np.ndarray, money: float) -> np.ndarray:
    """Positions taken from the highest score down (ties to the earlier) for as long as the money lasts."""
    if math.fsum(costs) <= money:
        return np.arange(scores.size)
    order = np.lexsort((np.arange(scores.size), -scores))
    affordable = int(np.searchsorted(np.cumsum(costs[order]), money, side="right"))
    while affordable and math.fsum(costs[order[:affordable]]) > money:
        affordable -= 1
    return np.sort(order[:affordable])


def _efficiency(scores: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Gain for each unit of money; what costs nothing comes first."""
    return np.where(costs > 0, scores / np.where(costs > 0, costs, 1.0), np.inf)


def _accept(draft: Draft, candidates: Candidates, users: np.ndarray, choice: np.ndarray, score: np.ndarray) -> bool:
    """Take the proposals that fit; True if any did."""
    kept_users, kept_events, kept_scores = [], [], []
    for event in np.unique(choice[choice >= 0]):
        proposing = np.flatnonzero(choice == event)
        proposing = proposing[best_first(score[proposing], draft.places[event])]
        if np.isfinite(draft.event_money[event]) and proposing.size:
            costs = candidates.chosen_costs(users[proposing], np.full(proposing.size, event))
            rank = _efficiency(score[proposing], costs)
            proposing = proposing[within_money(rank, costs, draft.event_money[event])]
        kept_users.append(users[proposing])
        kept_events.append(np.full(proposing.size, event))
        kept_scores.append(score[proposing])
    if not kept_users:
        return False
    taken, events = np.concatenate(kept_users), np.concatenate(kept_events)
    if np.isfinite(draft.money) and taken.size:
        order = np.argsort(taken, kind="stable")
        taken, events = taken[order], events[order]
        costs = candidates.chosen_costs(taken, events)
        rank = _efficiency(np.concatenate(kept_scores)[order], costs)
        affordable = within_money(rank, costs, draft.money)
        taken, events = taken[affordable], events[affordable]
    for event in np.unique(events):
        draft.give(candidates, taken[events == event], int(event))
    return bool(taken.size)


def _open(draft: Draft, candidates: Candidates, users: np.ndarray, reduced: np.ndarray) -> None:
    """Mark as no candidate, in place, what has no place left or costs more than is left."""
    for event in range(candidates.events):
        most = min(draft.money, draft.event_money[event])
        if draft.places[event] < 1:
            reduced[event] = -np.inf
        elif np.isfinite(most):
            costs = candidates.costs[event] if candidates.costs.shape[1] == 1 else candidates.costs[event, users]
            reduced[event][np.broadcast_to(costs > most, reduced[event].shape)] = -np.inf


def _propose_until_settled(
    draft: Draft, candidates: Candidates, charges: Charges, users: np.ndarray, least: float
) -> None:
    """Rounds of proposals among some of the users, while a gain above `least` (after prices) can be had."""
    for _ in range(MOST_ROUNDS):
        users = users[draft.event[users] < 0]
        if users.size == 0:
            return
        reduced = charges.reduced(candidates, users)
        _open(draft, candidates, users, reduced)
        choice = reduced.argmax(axis=0)
        score = reduced[choice, np.arange(users.size)].astype(np.float64)
        proposing = score > least
        if not proposing.any():
            return
        users, choice, score = users[proposing], choice[proposing], score[proposing]
        if not _accept(draft, candidates, users, choice, score):
            return


def round_to_plan(candidates: Candidates, limits: Limits, charges: Charges, *, with_fill: bool = True) -> Draft:
    """A plan within capacities and budgets that follows the prices closely.

    Users whose best event is plainly worth its price are taken at once; only those turned away and those just below
    the price propose again, at most `POOL_USERS` at a time.

    Args:
        candidates, limits: the problem.
        charges: the prices.
        with_fill: spend what is left on users whom the prices leave out.
    """
    draft = Draft.empty(candidates.users, limits)
    if candidates.events == 0:
        return draft
    choice = np.empty(candidates.users, dtype=np.int16)
    score = np.empty(candidates.users)
    for users in chunks(candidates.users):
        choice[users], score[users] = best_choices(candidates, charges, users)
    gaining = np.flatnonzero(choice >= 0)
    _accept(draft, candidates, gaining, choice[gaining], score[gaining])
    _propose_until_settled(draft, candidates, charges, gaining, 0.0)
    if with_fill:
        fill(draft, candidates, charges)
    draft.recount(candidates, limits)
    return draft


def fill(draft: Draft, candidates: Candidates, charges: Charges) -> None:
    """Spend what is left on users with any positive value, those nearest to their price first."""
    left = np.flatnonzero(draft.event < 0)
    while left.size:
        nearest = np.full(left.size, -np.inf)
        for start in range(0, left.size, POOL_USERS):
            users = left[start : start + POOL_USERS]
            reduced = charges.reduced(candidates, users)
            _open(draft, candidates, users, reduced)
            nearest[start : start + POOL_USERS] = reduced.max(axis=0, initial=-np.inf)
        possible = np.isfinite(nearest)
        left, nearest = left[possible], nearest[possible]
        if left.size == 0:
            return
        pool = left[best_first(nearest, POOL_USERS)]
        before = draft.event[pool].copy()
        _propose_until_settled(draft, candidates, charges, pool, -np.inf)
        if (draft.event[pool] == before).all():
            return
        left = left[draft.event[left] < 0]
