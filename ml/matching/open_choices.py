"""What prices leave open, decided exactly.

At the prices of the dual most users have one choice that is better than any other by more than the whole plan can
still gain: by weak duality no better plan gives them anything else (reduced cost fixing, Dantzig, Fulkerson and Johnson
1954). Where many values are equal, or where shares of segments tie users to each other, prices leave the others
undecided. Users who are alike are counted together, so that ties make the rest smaller, and an integer programme says
how many of each kind get which event.
"""

import math
from dataclasses import dataclass

import numpy as np

from ml.matching.candidates import Candidates, Charges, Limits, chunks
from ml.matching.kinds import open_kinds
from ml.matching.programme import Programme


@dataclass(frozen=True)
class Decision:
    """A plan with the rest decided.

    Attributes:
        event: shape (users,), -1 for none.
        bound: no plan that meets all limits is worth more; inf where users were settled without proof.
    """

    event: np.ndarray
    bound: float


def decide_open_choices(
    candidates: Candidates, limits: Limits, charges: Charges, *, still_to_gain: float, enough: float
) -> Decision | None:
    """Settle everybody whom the prices settle and decide the rest; None where no such plan keeps the limits.

    Minimums are met as far as they can be, before anything is gained; everything else is always kept.

    Args:
        candidates, limits: the problem.
        charges: prices near the best ones.
        still_to_gain: upper bound less the value of a plan at hand: no choice that loses more can be in a better plan.
        enough: a distance to the best plan that is good enough, in money.
    """
    event, regret = _best_choices(candidates, charges)
    # Losses may be of single precision.
    least_loss = still_to_gain + 1e-6 * float(candidates.values.max(initial=0.0))
    kinds, is_proven = open_kinds(candidates, charges, regret, least_loss)
    if kinds.kind.size == 0:
        return None
    event[kinds.users] = -1
    programme = Programme.of(candidates, limits, kinds, event)
    share = float(np.clip(enough / (kinds.values @ programme.sizes), 0.0, 1.0))
    found = programme.solve(kinds.values, share)
    if found is None and limits.event_minimums.any():
        reachable, is_proven = programme.within_reach(), False
        found = None if reachable is None else reachable.solve(kinds.values, share)
    if found is None:
        return None
    counts, bound = found
    chosen = np.flatnonzero(event >= 0)
    bound += math.fsum(candidates.chosen_values(chosen, event[chosen]))
    users, events = kinds.users_given(counts)
    event[users] = events
    return Decision(event, bound if is_proven else np.inf)


def _best_choices(candidates: Candidates, charges: Charges) -> tuple[np.ndarray, np.ndarray]:
    """Each user's best choice at the prices (-1 for none) and what the next best loses; both of shape (users,)."""
    event = np.empty(candidates.users, dtype=np.int16)
    regret = np.empty(candidates.users)
    for users in chunks(candidates.users):
        reduced = np.vstack([np.zeros((1, users.stop - users.start)), charges.reduced(candidates, users)])
        event[users] = reduced.argmax(axis=0) - 1
        highest = np.partition(reduced, -2, axis=0)[-2:]
        regret[users] = highest[1] - highest[0]
    return event, regret
