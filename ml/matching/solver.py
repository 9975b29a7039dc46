"""Who gets what: the dual for prices and the bound, then a plan that keeps every limit."""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from ml.matching.candidates import Candidates, Charges, Limits
from ml.matching.dual import PriceVector, certified_bound, solve_dual
from ml.matching.exchange import Exchange, pair_weights
from ml.matching.open_choices import decide_open_choices
from ml.matching.polish import CORE_USERS, polish
from ml.matching.problem import MatchingPlan, MatchingProblem
from ml.matching.rounding import Draft, round_to_plan
from ml.matching.shares import keep_shares

THREADS_FROM_USERS = 200_000
GOOD_ENOUGH = 1e-5

# A gap from which on what is left is decided exactly, and how often.
ENOUGH = 1e-4
MOST_DECISIONS = 3


def solve_matching(problem: MatchingProblem) -> MatchingPlan:
    """Choose at most one event for each user so that the sum of values is (nearly) the largest possible.

    Method: Lagrangian relaxation of every limit (Fisher 1981), prices by L-BFGS-B on a sample and then on all users,
    rounding by value after prices, residual fill, exchanges among the nearly indifferent; where a gap is left, an
    integer programme over those whom the prices do not settle. Limits from above (places, money, largest shares) are
    always kept, and least shares too; a minimum that cannot be met is met as far as it can be and reported in
    `shortfalls`. The result depends on nothing but the problem.

    Raises:
        MatchingError: the problem is malformed.
    """
    # Products of small arrays: more threads of BLAS only wait for each other.
    with threadpool_limits(limits=1):
        return _solve(problem)


def _solve(problem: MatchingProblem) -> MatchingPlan:
    """Prices, a plan that follows them, and what they leave open."""
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
    charges = vector.charges(prices)
    with_shares = candidates.segments is not None
    draft = round_to_plan(candidates, limits, charges, with_fill=not with_shares)
    # A minimum above the places is out of reach: it is met as far as there are places, and reported.
    limits = replace(limits, event_minimums=np.minimum(limits.event_minimums, limits.capacities))
    if with_shares:
        if limits.event_minimums.any():
            polish(draft, candidates, limits, charges)
        keep_shares(draft, candidates, limits, charges)
    elif candidates.events and (limits.event_minimums.any() or bound - _value(problem, draft) > GOOD_ENOUGH * bound):
        polish(draft, candidates, limits, charges)
        if candidates.users <= CORE_USERS:
            prices, bound = _sharper_prices(candidates, limits, vector, prices, bound, draft)
    bound = _decide_the_rest(problem, candidates, limits, vector.charges(prices), draft, bound)
    return _plan(problem, candidates, vector, prices, draft, bound)


def _value(problem: MatchingProblem, draft: Draft) -> float:
    """Value of a plan from the problem's own figures."""
    taken = np.flatnonzero(draft.event >= 0)
    return math.fsum(problem.values[taken, draft.event[taken]].astype(np.float64))


def _decide_the_rest(
    problem: MatchingProblem, candidates: Candidates, limits: Limits, charges: Charges, draft: Draft, bound: float
) -> float:
    """Decide exactly what the prices leave open, for as long as that betters the draft; returns the lower bound."""
    for _ in range(MOST_DECISIONS if candidates.events else 0):
        value, lacking = _value(problem, draft), _lacking(draft, limits)
        if lacking == 0 and bound - value <= ENOUGH * bound:
            break
        still_to_gain = bound - value if lacking == 0 else np.inf
        decision = decide_open_choices(
            candidates, limits, charges, still_to_gain=still_to_gain, enough=ENOUGH / 10 * bound
        )
        if decision is None:
            break
        bound = min(bound, decision.bound) if lacking == 0 else bound
        better = Draft.empty(candidates.users, limits)
        better.event[:] = decision.event
        if (-_lacking(better, limits), _value(problem, better)) <= (-lacking, value):
            break
        draft.event[:] = decision.event
    draft.recount(candidates, limits)
    return bound


def _lacking(draft: Draft, limits: Limits) -> float:
    """Users that events lack to their minimums."""
    counts = np.bincount(draft.event[draft.event >= 0], minlength=limits.event_minimums.size)
    return float(np.maximum(0.0, limits.event_minimums - counts).sum())


def _sharper_prices(
    candidates: Candidates,
    limits: Limits,
    vector: PriceVector,
    prices: np.ndarray,
    bound: float,
    draft: Draft,
) -> tuple[np.ndarray, float]:
    """Prices of places that are exact for the prices of money found, kept if their bound is lower."""
    event = draft.event.astype(np.int64)
    exchange = Exchange(pair_weights(candidates, vector.charges(prices).per_money), event, limits)
    if not exchange.improve(4 * event.size) or exchange.shortfall().any():
        return prices, bound
    sharper = vector.with_net_place_prices(prices, exchange.place_prices())
    its_bound = certified_bound(candidates, vector, sharper)
    return (sharper, its_bound) if its_bound < bound else (prices, bound)


def _plan(
    problem: MatchingProblem,
    candidates: Candidates,
    vector: PriceVector,
    prices: np.ndarray,
    draft: Draft,
    bound: float,
) -> MatchingPlan:
    """Add up the plan and say which minimums it misses."""
    minimums = vector.limits.event_minimums
    taken = np.flatnonzero(draft.event >= 0)
    counts = np.bincount(draft.event[taken], minlength=candidates.events)
    shortfalls = tuple(
        f"Event {event} gets {counts[event]} of at least {minimums[event]:.0f} users."
        for event in np.flatnonzero(counts < minimums)
    )
    value = _value(problem, draft)
    return MatchingPlan(
        event=draft.event,
        value=value,
        cost=math.fsum(candidates.chosen_costs(taken, draft.event[taken])),
        upper_bound=max(bound, value),
        prices=vector.named(prices),
        shortfalls=shortfalls,
    )
