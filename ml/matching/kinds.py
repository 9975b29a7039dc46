"""Users whom the prices leave a choice, those who are alike counted together."""

from dataclasses import dataclass

import numpy as np

from ml.matching.candidates import Candidates, Charges
from ml.matching.rounding import best_first

OPEN_USERS = 1_000_000
MOST_KINDS = 2_000

# What still counts as nearly indifferent, from hardly anything up to everything that can be in a better plan.
STEPS, STEP = 4, 16.0


@dataclass(frozen=True)
class Kinds:
    """Users with an open choice; two are of a kind when their open pairs have the same values and costs.

    Attributes:
        users: positions of the users, kind by kind, earlier users first.
        starts: shape (kinds + 1,), where each kind begins in `users`.
        segment: shape (kinds,).
        kind, event: shape (pairs,), the pairs that are open, one for all users of a kind.
        values, costs: shape (pairs,).
    """

    users: np.ndarray
    starts: np.ndarray
    segment: np.ndarray
    kind: np.ndarray
    event: np.ndarray
    values: np.ndarray
    costs: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Users of each kind, shape (kinds,)."""
        return np.diff(self.starts)

    def users_given(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Users and their events where `counts`, shape (pairs,), users of each kind get each event."""
        order = np.lexsort((self.event, self.kind))
        counts = counts[order]
        before = np.cumsum(counts) - counts
        first = np.searchsorted(self.kind[order], np.arange(self.segment.size))
        # Within its kind a pair begins where the kind's earlier pairs end.
        within = before - np.append(before, 0)[first][self.kind[order]]
        places = np.repeat(self.starts[self.kind[order]] + within - before, counts) + np.arange(counts.sum())
        return self.users[places], np.repeat(self.event[order], counts)


def open_kinds(
    candidates: Candidates, charges: Charges, regret: np.ndarray, still_to_gain: float
) -> tuple[Kinds, bool]:
    """As many of the users nearest to indifference as make few kinds, and whether these are all that may differ.

    Args:
        candidates: the pairs.
        charges: the prices.
        regret: shape (users,), what a user's next best choice would lose.
        still_to_gain: no choice that loses more can be in a better plan.
    """
    highest = float(candidates.values.max(initial=0.0))
    wide = min(still_to_gain, highest)
    tolerances = [wide * STEP**-step for step in range(STEPS, 0, -1)] + [wide, still_to_gain]
    found, opened = None, -1.0
    for tolerance in tolerances:
        users = np.flatnonzero(regret <= tolerance)
        if users.size > OPEN_USERS:
            break
        kinds = _kinds_of(candidates, charges, users, tolerance)
        if kinds.segment.size > MOST_KINDS:
            break
        found, opened = kinds, tolerance
    if found is None:
        nearest = best_first(-regret, MOST_KINDS)
        return _kinds_of(candidates, charges, nearest, tolerances[0]), False
    return found, opened >= still_to_gain


def _kinds_of(candidates: Candidates, charges: Charges, users: np.ndarray, tolerance: float) -> Kinds:
    """The kinds of some users, with the pairs that lose at most `tolerance` against the user's best."""
    reduced = charges.reduced(candidates, users).astype(np.float64)
    loss = np.maximum(reduced.max(axis=0, initial=0.0), 0.0) - reduced
    values = candidates.values[:, users].astype(np.float64)
    costs = candidates.costs if candidates.costs.shape[1] == 1 else candidates.costs[:, users]
    costs = np.broadcast_to(costs, values.shape).astype(np.float64)
    is_open = (loss <= tolerance) & np.isfinite(values)
    segment = np.zeros(users.size, dtype=int) if candidates.segments is None else candidates.segments[users]
    columns = [segment.astype(np.float64)]
    for event in range(candidates.events):
        columns += [np.where(is_open[event], values[event], -1.0), np.where(is_open[event], costs[event], -1.0)]
    first, kind = _alike(columns)
    pair_event, pair_kind = np.nonzero(is_open[:, first])
    return Kinds(
        users=users[np.argsort(kind, kind="stable")],
        starts=np.append(0, np.cumsum(np.bincount(kind, minlength=first.size))),
        segment=segment[first],
        kind=pair_kind,
        event=pair_event,
        values=values[pair_event, first[pair_kind]],
        costs=costs[pair_event, first[pair_kind]],
    )


def _alike(columns: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """First position of each distinct row, shape (kinds,), and each row's kind, shape (rows,).

    Rows are told apart by a hash of 64 bits (the mixing of SplitMix, Steele et al. 2014), which sorts faster than rows
    do; should two different rows ever share one, the rows themselves are sorted.
    """
    key = np.zeros(columns[0].size, dtype=np.uint64)
    for column in columns:
        key = (key ^ column.view(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        key ^= key >> np.uint64(27)
    _, first, kind = np.unique(key, return_index=True, return_inverse=True)
    if any((column != column[first][kind]).any() for column in columns):
        _, first, kind = np.unique(np.vstack(columns).T, axis=0, return_index=True, return_inverse=True)
    return first, kind.reshape(-1)
