"""How many users of each kind get which event: an integer programme under all limits, solved by HiGHS.

HiGHS (Huangfu and Hall 2018) comes with scipy. It is bounded by branches, not by seconds, so that the same problem
gives the same plan on every machine.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, milp
from scipy.sparse import csr_array, hstack, vstack

from ml.matching.candidates import Candidates, Limits
from ml.matching.kinds import Kinds

MOST_BRANCHES = 500

# The solver keeps limits up to a tolerance; where that shows, it is asked again with limits so much tighter.
TOLERANCE = 2e-6


@dataclass(frozen=True)
class Programme:
    """The integer programme over the open pairs: `rows @ counts` lies between `least` and `most`.

    Attributes:
        rows: shape (limits, variables).
        least, most: shape (limits,).
        is_measured: shape (limits,), limits on money and shares, which the solver keeps up to a tolerance.
        is_minimum: shape (limits,), minimums of events, which may be out of reach.
        sizes: shape (variables,), users of the kind each pair belongs to.
    """

    rows: csr_array
    least: np.ndarray
    most: np.ndarray
    is_measured: np.ndarray
    is_minimum: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, candidates: Candidates, limits: Limits, kinds: Kinds, settled: np.ndarray) -> "Programme":
        """The limits less what the settled users take; `settled` has shape (users,), -1 for none."""
        pairs, events = kinds.kind.size, candidates.events
        chosen = np.flatnonzero(settled >= 0)
        given = settled[chosen]
        spent = candidates.chosen_costs(chosen, given)
        counts = np.bincount(given, minlength=events)
        event_spent = np.bincount(given, weights=spent, minlength=events)
        of_event = csr_array((np.ones(pairs), (kinds.event, np.arange(pairs))), shape=(events, pairs))
        of_kind = csr_array((np.ones(pairs), (kinds.kind, np.arange(pairs))), shape=(kinds.segment.size, pairs))
        unbounded = np.full(events, np.inf)
        parts = [
            (of_kind, -np.inf * np.ones(kinds.segment.size), kinds.sizes.astype(np.float64)),
            (of_event, -unbounded, limits.capacities - counts),
            (of_event, limits.event_minimums - counts, unbounded),
            (of_event * kinds.costs, -unbounded, limits.event_budgets - event_spent),
            (csr_array(kinds.costs[None, :]), np.array([-np.inf]), np.array([limits.budget - math.fsum(spent)])),
        ]
        if candidates.segments is not None:
            segments = limits.maximum_shares.size
            sizes = np.bincount(candidates.segments[chosen], minlength=segments)
            mine = (kinds.segment[kinds.kind] == np.arange(segments)[:, None]).astype(np.float64)
            for shares, sign in ((limits.maximum_shares, 1.0), (limits.minimum_shares, -1.0)):
                over = sign * (mine - shares[:, None])
                most = sign * (shares * chosen.size - sizes)
                parts.append((csr_array(over), np.full(segments, -np.inf), most))
        lengths = [part[0].shape[0] for part in parts]
        number = np.repeat(np.arange(len(parts)), lengths)
        return cls(
            rows=vstack([rows for rows, _, _ in parts], format="csr"),
            least=np.concatenate([least for _, least, _ in parts]),
            most=np.concatenate([most for _, _, most in parts]),
            is_measured=number >= 3,
            is_minimum=number == 2,
            sizes=kinds.sizes[kinds.kind].astype(np.float64),
        )

    def solve(self, gains: np.ndarray, enough: float) -> tuple[np.ndarray, float] | None:
        """Users of each pair, shape (variables,), and the most that they could gain; None if no counts keep all limits.

        Args:
            gains: shape (variables,), what a user of each pair gains.
            enough: a plan within this share of the best one is good enough.
        """
        for is_tighter in (False, True):
            found = self._run(gains, enough, is_tighter=is_tighter)
            if found.x is not None:
                counts = np.rint(found.x)
                if self.keeps(counts):
                    return counts.astype(int), np.inf if is_tighter else -float(found.mip_dual_bound)
        return None

    def _run(self, gains: np.ndarray, enough: float, *, is_tighter: bool) -> OptimizeResult:
        """Maximise the gains in whole users."""
        most = self.most.copy()
        tightened = self.is_measured & np.isfinite(most) & is_tighter
        most[tightened] -= TOLERANCE * (1.0 + np.abs(most[tightened]))
        return milp(
            -gains,
            integrality=np.ones(gains.size),
            bounds=Bounds(0.0, self.sizes),
            constraints=LinearConstraint(self.rows, self.least, most),
            options={"mip_rel_gap": enough, "node_limit": MOST_BRANCHES},
        )

    def keeps(self, counts: np.ndarray) -> bool:
        """Whether whole counts keep every limit, shape (variables,)."""
        used = self.rows @ counts
        return bool((used <= self.most + 1e-9).all() and (used >= self.least - 1e-9).all())

    def within_reach(self) -> "Programme | None":
        """The same with minimums lowered by as few users as possible; None where other limits cannot be kept."""
        minimums = np.flatnonzero(self.is_minimum)
        pairs = self.sizes.size
        lacks = csr_array(
            (np.ones(minimums.size), (minimums, np.arange(minimums.size))), (self.most.size, minimums.size)
        )
        found = milp(
            np.append(np.zeros(pairs), np.ones(minimums.size)),
            integrality=np.append(np.ones(pairs), np.zeros(minimums.size)),
            bounds=Bounds(0.0, np.append(self.sizes, np.full(minimums.size, np.inf))),
            constraints=LinearConstraint(hstack([self.rows, lacks], format="csr"), self.least, self.most),
            options={"node_limit": MOST_BRANCHES},
        )
        if found.x is None:
            return None
        least = self.least.copy()
        least[minimums] -= np.rint(found.x[pairs:])
        return replace(self, least=least)
