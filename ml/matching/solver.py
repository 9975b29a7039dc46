"""Who gets what: the dual for prices and the bound, then a plan that keeps every limit."""

import math
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ml.matching.dual import Candidates, Limits, PriceVector, certified_bound, solve_dual
from ml.matching.problem import MatchingPlan, MatchingProblem
from ml.matching.rounding import Draft, round_to_plan

THREADS_FROM_USERS = 200_000


def solve_matching(problem: MatchingProblem) -> MatchingPlan:
    """Choose at most one event for each user so that the sum of values is (nearly) the largest possible.

    Method: Lagrangian relaxation of every limit (Fisher 1981), prices by L-BFGS-B on a sample and then on all users,
    rounding by value after prices, residual fill. The plan keeps capacities, budgets and largest shares always. The
    result depends on nothing but the problem: ties go to the earlier user and the earlier event.

    Raises:
        MatchingError: the problem is malformed.
    """
    limits = Limits.of(problem)
    candidates = Candidates.of(problem, limits)
    vector = PriceVector(candidates, limits)
    threads = ThreadPoolExecutor(os.cpu_count()) if candidates.users >= THREADS_FROM_USERS else None
    try:
        prices = solve_dual(candidates, limits, vector, threads)
        bound = certified_bound(candidates, vector, prices)
    finally:
        if threads is not None:
            threads.shutdown()
    draft = round_to_plan(candidates, limits, vector.charges(prices))
    return _plan(problem, candidates, vector, prices, draft, bound)


def _plan(
    problem: MatchingProblem,
    candidates: Candidates,
    vector: PriceVector,
    prices: np.ndarray,
    draft: Draft,
    bound: float,
) -> MatchingPlan:
    """Add up the plan from the problem's own figures."""
    taken = np.flatnonzero(draft.event >= 0)
    value = math.fsum(problem.values[taken, draft.event[taken]].astype(np.float64))
    return MatchingPlan(
        event=draft.event,
        value=value,
        cost=math.fsum(candidates.chosen_costs(taken, draft.event[taken])),
        upper_bound=max(bound, value),
        prices=vector.named(prices),
        shortfalls=(),
    )
