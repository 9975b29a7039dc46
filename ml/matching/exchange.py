"""Exchanges between events: moves that improve a plan by passing users around, and the proof that none is left.

With few events every improvement of a plan under places and minimums is a cycle through the events and "none": one user
moves from each to the next. Each arc needs only the one user who gains most by that move, so that the search runs on a
graph with as many nodes as events (cycle cancelling, Klein 1967). A plan without an improving cycle is the best one,
and the longest paths from "none" are the exact prices of the places.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ml.matching.candidates import Candidates, Limits

NOBODY = -1


@dataclass(frozen=True)
class Arcs:
    """Best move between each two nodes; the last node is "none".

    Attributes:
        gain: shape (nodes, nodes), what the best move from row to column adds, -inf where there is none.
        user: shape (nodes, nodes), who moves; `NOBODY` where a place is taken up or given up and nobody moves on.
    """

    gain: np.ndarray
    user: np.ndarray


class Exchange:
    """A plan that is improved by cycles of moves.

    Args:
        weights: shape (events, users), what each pair is worth, -inf for no candidate.
        event: shape (users,), the plan, -1 for none; changed in place.
        limits: places and minimums; other limits are the caller's.
    """

    def __init__(self, weights: np.ndarray, event: np.ndarray, limits: Limits) -> None:
        self.weights, self.event = weights, event
        self.events = weights.shape[0]
        self.places, self.minimums = limits.capacities, limits.event_minimums
        finite = weights[np.isfinite(weights)]
        # Above anything a cycle can gain: meeting a minimum comes before value.
        self.penalty = 2.0 * (self.events + 2) * float(np.abs(finite).max(initial=1.0))

    def counts(self) -> np.ndarray:
        """Users of each event."""
        return np.bincount(self.event + 1, minlength=self.events + 1)[1:]

    def shortfall(self) -> np.ndarray:
        """Users each event lacks to its minimum."""
        return np.maximum(0.0, self.minimums - self.counts())

    def arcs(self) -> Arcs:
        """The best move between each two nodes of the plan as it is."""
        nodes = self.events + 1
        gain = np.full((nodes, nodes), -np.inf)
        user = np.full((nodes, nodes), NOBODY)
        node = np.where(self.event < 0, self.events, self.event)
        order = np.argsort(node, kind="stable")
        sizes = np.bincount(node, minlength=nodes)
        ends = np.cumsum(sizes)
        columns = np.arange(node.size)
        assigned = self.event >= 0
        held = np.zeros(node.size)
        held[assigned] = self.weights[self.event[assigned], columns[assigned]]
        for target in range(nodes):
            moved = (self.weights[target] if target < self.events else np.zeros(node.size)) - held
            for source in np.flatnonzero(sizes):
                if source == target:
                    continue
                members = order[ends[source] - sizes[source] : ends[source]]
                best = members[moved[members].argmax()]
                gain[source, target], user[source, target] = moved[best], best
        self._add_slack(gain, user)
        return Arcs(gain, user)

    def _add_slack(self, gain: np.ndarray, user: np.ndarray) -> None:
        """Arcs on which nobody moves: an event ends up with one user more (to "none") or fewer (from "none")."""
        none = self.events
        counts = self.counts()
        for event in range(self.events):
            if counts[event] < self.minimums[event]:
                more = self.penalty
            else:
                more = 0.0 if counts[event] < self.places[event] else -np.inf
            fewer = 0.0 if counts[event] > self.minimums[event] else -self.penalty
            for source, target, worth in ((event, none, more), (none, event, fewer)):
                if worth > gain[source, target]:
                    gain[source, target], user[source, target] = worth, NOBODY

    def improving_cycle(self, arcs: Arcs) -> list[tuple[int, int]]:
        """Arcs (source, target) of a cycle that gains, empty if there is none (Bellman and Ford)."""
        nodes = self.events + 1
        worth, before = np.zeros(nodes), np.full(nodes, NOBODY)
        # Rounding alone must not look like a gain.
        least = 1e-9 * (1.0 + np.abs(arcs.gain[np.isfinite(arcs.gain)]).max(initial=0.0))
        last = NOBODY
        for _ in range(nodes):
            reached = worth[:, None] + arcs.gain
            source = reached.argmax(axis=0)
            best = reached[source, np.arange(nodes)]
            better = best > worth + least
            if not better.any():
                return []
            worth = np.where(better, best, worth)
            before = np.where(better, source, before)
            last = int(np.flatnonzero(better)[0])
        for _ in range(nodes):
            last = int(before[last])
        cycle, node = [], last
        while True:
            cycle.append((int(before[node]), node))
            node = int(before[node])
            if node == last:
                break
        gains = sum(arcs.gain[arc] for arc in cycle)
        return cycle[::-1] if gains > least else []

    def apply(self, arcs: Arcs, cycle: list[tuple[int, int]]) -> None:
        """Let the users of a cycle move."""
        for source, target in cycle:
            mover = arcs.user[source, target]
            if mover != NOBODY:
                self.event[mover] = target if target < self.events else -1

    def improve(self, most_cycles: int, is_allowed: Callable[[np.ndarray], bool] | None = None) -> bool:
        """Cancel improving cycles; True if none is left.

        Args:
            most_cycles: stop after so many.
            is_allowed: says of a plan (shape (users,)) whether the caller's limits hold; the first cycle that breaks
                them is undone and ends the search.
        """
        for _ in range(most_cycles):
            arcs = self.arcs()
            cycle = self.improving_cycle(arcs)
            if not cycle:
                return True
            before = self.event.copy()
            self.apply(arcs, cycle)
            if is_allowed is not None and not is_allowed(self.event):
                self.event[:] = before
                return False
        return False

    def place_prices(self) -> np.ndarray:
        """Net price of a place (place less minimum) in each event, exact when no improving cycle is left."""
        arcs = self.arcs()
        nodes = self.events + 1
        price = np.full(nodes, -np.inf)
        price[-1] = 0.0
        for _ in range(nodes):
            price = np.maximum(price, (price[:, None] + arcs.gain).max(axis=0))
            price[-1] = 0.0
        return price[:-1]


def pair_weights(candidates: Candidates, per_money: np.ndarray) -> np.ndarray:
    """Values less money at its price, shape (events, users), float64: what an exchange weighs."""
    weights = candidates.values.astype(np.float64)
    if per_money.any():
        weights = weights - per_money[:, None] * candidates.costs
    return weights
