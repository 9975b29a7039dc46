"""The last users of a plan: minimums are met and small gains taken among those who are nearly indifferent.

Almost all users of a large problem are settled by the prices. What rounding leaves undone is decided among the few
whose best choice is hardly better than their next best: the core. In a small problem everybody is in it.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from ml.matching.candidates import Candidates, Charges, Limits, chunks
from ml.matching.exchange import Exchange, pair_weights
from ml.matching.rounding import Draft, best_first, fill

CORE_USERS = 5_000
MOST_CYCLES = 400
MOST_SWAPS = 100
SWAP_MOVES = 300
PRICE_STEPS = 24


@dataclass(frozen=True)
class Core:
    """The users whose choice is still open, and what the others leave of the limits.

    Attributes:
        users: positions in the whole problem.
        candidates: their pairs.
        limits: what is left for them.
    """

    users: np.ndarray
    candidates: Candidates
    limits: Limits


def take_core(draft: Draft, candidates: Candidates, limits: Limits, charges: Charges) -> Core:
    """The users nearest to indifference under the prices."""
    margin = np.empty(candidates.users)
    for users in chunks(candidates.users):
        reduced = np.vstack([charges.reduced(candidates, users), np.zeros((1, users.stop - users.start))])
        highest = np.partition(reduced, -2, axis=0)[-2:]
        margin[users] = highest[1] - highest[0]
    core = best_first(-margin, CORE_USERS)
    others = np.ones(candidates.users, dtype=bool)
    others[core] = False
    settled = np.flatnonzero(others & (draft.event >= 0))
    events = draft.event[settled]
    costs = candidates.chosen_costs(settled, events)
    taken = np.bincount(events, minlength=candidates.events)
    spent = np.array([math.fsum(costs[events == event]) for event in range(candidates.events)])
    left = replace(
        limits,
        budget=limits.budget - math.fsum(costs),
        capacities=limits.capacities - taken,
        event_budgets=limits.event_budgets - spent,
        event_minimums=np.maximum(0.0, limits.event_minimums - taken),
    )
    return Core(core, candidates if core.size == candidates.users else candidates.subset(core), left)


def polish(draft: Draft, candidates: Candidates, limits: Limits, charges: Charges) -> Core:
    """Meet minimums where that is possible and take what gains are left; changes the draft in place."""
    _call_up(draft, candidates, limits, charges)
    core = take_core(draft, candidates, limits, charges)
    inner = Draft.empty(core.users.size, core.limits)
    inner.event[:] = draft.event[core.users]
    inner.recount(core.candidates, core.limits)
    _meet_minimums(inner, core, charges)
    _take_gains(inner, core, charges)
    draft.event[core.users] = inner.event
    draft.recount(candidates, limits)
    return core


def _call_up(draft: Draft, candidates: Candidates, limits: Limits, charges: Charges) -> None:
    """Give events far below their minimum the users without an event who suit them best, whatever that costs."""
    for event in np.flatnonzero(limits.event_minimums > 0):
        lacking = limits.event_minimums[event] - np.count_nonzero(draft.event == event)
        if lacking > 0:
            free = np.flatnonzero((draft.event < 0) & np.isfinite(candidates.values[event]))
            reduced = charges.reduced(candidates, free)[event]
            draft.event[free[best_first(reduced, lacking)]] = event


def _is_within_money(draft: Draft, core: Core) -> bool:
    """Whether the plan of the core keeps the budgets."""
    draft.recount(core.candidates, core.limits)
    return draft.money >= 0 and bool((draft.event_money >= 0).all())


def _meet_minimums(draft: Draft, core: Core, charges: Charges) -> None:
    """Bring events up to their minimum by exchanges; where money is short, by ever cheaper ones."""
    limits, candidates = core.limits, core.candidates
    if not limits.event_minimums.any():
        return
    weights = pair_weights(candidates, charges.per_money)
    best = draft.event.copy()
    Exchange(weights, best, limits).improve(MOST_CYCLES)
    draft.event[:] = best
    _release(draft, core, charges)
    if _is_within_money(draft, core):
        fill(draft, candidates, charges)
        return
    typical = float(candidates.costs[candidates.costs > 0].mean())
    step = float(np.abs(weights[np.isfinite(weights)]).max()) / typical * 2.0**-12
    for _ in range(PRICE_STEPS):
        draft.event[:] = best
        dearer = pair_weights(candidates, charges.per_money + step)
        Exchange(dearer, draft.event, limits).improve(MOST_CYCLES)
        _release(draft, core, charges)
        if _is_within_money(draft, core):
            fill(draft, candidates, charges)
            return
        step *= 2
    _release(draft, core, charges, keep_minimums=False)
    draft.recount(candidates, limits)
    fill(draft, candidates, charges)


def _release(draft: Draft, core: Core, charges: Charges, *, keep_minimums: bool = True) -> None:
    """Take events from those who gain least for their money until the budgets hold, minimums first kept, then not."""
    candidates, limits = core.candidates, core.limits
    draft.recount(candidates, limits)
    for scope in (*range(candidates.events), None):
        over = -(draft.money if scope is None else draft.event_money[scope])
        if over <= 0:
            continue
        holders = np.flatnonzero(draft.event >= 0 if scope is None else draft.event == scope)
        events = draft.event[holders]
        costs = candidates.chosen_costs(holders, events)
        worth = candidates.chosen_values(holders, events) / np.where(costs > 0, costs, 1e-300)
        spare = np.bincount(events, minlength=candidates.events) - limits.event_minimums
        for position in np.lexsort((-holders, worth)):
            event = events[position]
            if over <= 0 or costs[position] <= 0 or (keep_minimums and spare[event] <= 0):
                continue
            draft.event[holders[position]] = -1
            spare[event] -= 1
            over -= costs[position]
        draft.recount(candidates, limits)


def _take_gains(draft: Draft, core: Core, charges: Charges) -> None:
    """Improve by exchanges and, under a budget, by swapping pairs of moves that fit into what is left."""
    candidates, limits = core.candidates, core.limits
    has_money = bool(np.isfinite(limits.budget) or np.isfinite(limits.event_budgets).any())
    exchange = Exchange(pair_weights(candidates, charges.per_money), draft.event, limits)

    def is_allowed(event: np.ndarray) -> bool:
        return _is_within_money(draft, core)

    exchange.improve(MOST_CYCLES, is_allowed if has_money else None)
    draft.recount(candidates, limits)
    if has_money:
        Exchange(pair_weights(candidates, np.zeros(candidates.events)), draft.event, limits).improve(
            MOST_CYCLES, is_allowed
        )
        draft.recount(candidates, limits)
        for _ in range(MOST_SWAPS):
            if not _swap(draft, core, charges):
                break
    fill(draft, candidates, charges)


def _swap(draft: Draft, core: Core, charges: Charges) -> bool:
    """Make the best pair of moves (or single move) that gains and fits; True if there was one."""
    candidates, limits = core.candidates, core.limits
    none = candidates.events
    users = np.arange(candidates.users)
    now = np.where(draft.event < 0, none, draft.event)
    values = np.vstack([candidates.values.astype(np.float64), np.zeros((1, users.size))])
    costs = np.vstack([np.broadcast_to(candidates.costs, candidates.values.shape), np.zeros((1, users.size))])
    gain = values - values[now, users]
    money = costs - costs[now, users]
    priced = gain - (charges.per_money.max(initial=0.0)) * money
    priced[now, users] = -np.inf
    flat = np.argsort(-priced, axis=None, kind="stable")[:SWAP_MOVES]
    flat = flat[np.isfinite(priced.ravel()[flat])]
    target, mover = np.unravel_index(flat, priced.shape)
    # The last move is none at all, so that a single move is a pair with it.
    target, mover = np.append(target, none), np.append(mover, -1)
    source = np.append(now[mover[:-1]], none)
    gains, spends = np.append(gain[target[:-1], mover[:-1]], 0.0), np.append(money[target[:-1], mover[:-1]], 0.0)
    fits = mover[:, None] != mover[None, :]
    total = gains[:, None] + gains[None, :]
    fits &= spends[:, None] + spends[None, :] <= draft.money
    counts = np.bincount(now, minlength=none + 1)
    for event in range(none):
        change = (target == event).astype(int) - (source == event).astype(int)
        after = counts[event] + change[:, None] + change[None, :]
        fits &= (after <= limits.capacities[event]) & (after >= np.minimum(limits.event_minimums[event], counts[event]))
        if np.isfinite(limits.event_budgets[event]):
            paid = np.where(target == event, np.append(costs[event, mover[:-1]], 0.0), 0.0)
            paid = paid - np.where(source == event, np.append(costs[event, mover[:-1]], 0.0), 0.0)
            fits &= paid[:, None] + paid[None, :] <= draft.event_money[event]
    total[~fits] = 0.0
    first, second = np.unravel_index(total.argmax(), total.shape)
    if total[first, second] <= 1e-9 * (1.0 + np.abs(gains).max()):
        return False
    before = draft.event.copy()
    for move in (first, second):
        if mover[move] >= 0:
            draft.event[mover[move]] = target[move] if target[move] < none else -1
    if not _is_within_money(draft, core):
        draft.event[:] = before
        draft.recount(candidates, limits)
        return False
    return True
