"""Least and largest shares of segments: the plan is trimmed until every segment's share of the chosen is right."""

import numpy as np

from ml.matching.candidates import Candidates, Charges, Limits
from ml.matching.rounding import Draft, best_first

MOST_ADDED = 500


def allowed_sizes(counts: np.ndarray, limits: Limits) -> np.ndarray:
    """The largest users a segment that keep all shares and are at most `counts`, shape (segments,).

    With t users in the whole plan a segment may have between ceil(least * t) and floor(largest * t); the plan of t
    exists when these fit the counts and t lies between their sums. The largest such t is searched for.
    """
    wholes = np.arange(int(counts.sum()), 0, -1)[:, None]
    most = np.minimum(counts, np.floor(limits.maximum_shares * wholes + 1e-9))
    least = np.ceil(limits.minimum_shares * wholes - 1e-9)
    is_possible = (least <= most).all(axis=1) & (least.sum(axis=1) <= wholes[:, 0]) & (most.sum(axis=1) >= wholes[:, 0])
    if not is_possible.any():
        return np.zeros_like(counts)
    found = int(is_possible.argmax())
    return _spread(least[found], most[found], int(wholes[found, 0]))


def _spread(least: np.ndarray, most: np.ndarray, whole: int) -> np.ndarray:
    """Sizes between least and most that add up to the whole: surplus is taken from the largest segments first."""
    sizes = most.astype(int)
    surplus = int(sizes.sum()) - whole
    for segment in np.argsort(-sizes, kind="stable"):
        taken = min(surplus, int(sizes[segment] - least[segment]))
        sizes[segment] -= taken
        surplus -= taken
    return sizes


def keep_shares(draft: Draft, candidates: Candidates, limits: Limits, charges: Charges) -> None:
    """Take events from those who gain least until all shares hold, then add whom they let in; changes the draft.

    Events are brought below their minimum only when the shares leave no other way.
    """
    if candidates.events == 0:
        return
    segments = _segments(candidates)
    counts = np.bincount(segments[draft.event >= 0], minlength=limits.maximum_shares.size)
    sizes = allowed_sizes(counts, limits)
    _trim(draft, candidates, limits, charges, counts - sizes)
    _add(draft, candidates, limits, charges, sizes)


def _segments(candidates: Candidates) -> np.ndarray:
    """Codes of the users' segments; a problem with shares has them."""
    return np.zeros(candidates.users, dtype=int) if candidates.segments is None else candidates.segments


def _are_shares_kept(sizes: np.ndarray, limits: Limits) -> bool:
    """Whether a plan with these users a segment keeps all shares."""
    whole = sizes.sum()
    most, least = limits.maximum_shares * whole + 1e-9, limits.minimum_shares * whole - 1e-9
    return bool((sizes <= most).all() and (sizes >= least).all())


def _trim(draft: Draft, candidates: Candidates, limits: Limits, charges: Charges, surplus: np.ndarray) -> None:
    """Take events from the users of each segment who gain least; `surplus` has shape (segments,)."""
    segments = _segments(candidates)
    chosen = np.flatnonzero(draft.event >= 0)
    events = draft.event[chosen]
    reduced = charges.reduced(candidates, chosen)[events, np.arange(chosen.size)].astype(np.float64)
    needed = np.zeros(chosen.size, dtype=bool)
    for event in np.flatnonzero(limits.event_minimums > 0):
        holders = np.flatnonzero(events == event)
        needed[holders[best_first(reduced[holders], limits.event_minimums[event])]] = True
    for segment in np.flatnonzero(surplus > 0):
        members = np.flatnonzero(segments[chosen] == segment)
        order = np.lexsort((-members, reduced[members], needed[members]))
        draft.event[chosen[members[order[: surplus[segment]]]]] = -1
    draft.recount(candidates, limits)


def _add(draft: Draft, candidates: Candidates, limits: Limits, charges: Charges, sizes: np.ndarray) -> None:
    """Give what is left, user by user, to those nearest to their price whom the shares let in."""
    segments, sizes = _segments(candidates), sizes.copy()
    free = np.flatnonzero(draft.event < 0)
    reduced = charges.reduced(candidates, free).max(axis=0)
    free = free[best_first(reduced, MOST_ADDED)]
    pairs = charges.reduced(candidates, free)
    waiting = list(np.lexsort((free, -pairs.max(axis=0))))
    is_added = True
    while is_added:
        is_added = False
        for position in waiting:
            user, segment = free[position], segments[free[position]]
            after = sizes + (np.arange(sizes.size) == segment)
            whole = after.sum()
            if (after > limits.maximum_shares * whole + 1e-9).any() or (
                after < limits.minimum_shares * whole - 1e-9
            ).any():
                continue
            for event in np.argsort(-pairs[:, position], kind="stable"):
                cost = float(candidates.chosen_costs(np.array([user]), np.array([event]))[0])
                fits = draft.places[event] >= 1 and cost <= draft.money and cost <= draft.event_money[event]
                if fits and np.isfinite(pairs[event, position]):
                    draft.give(candidates, np.array([user]), int(event))
                    sizes, is_added = after, True
                    break
        waiting = [position for position in waiting if draft.event[free[position]] < 0]
    draft.recount(candidates, limits)
