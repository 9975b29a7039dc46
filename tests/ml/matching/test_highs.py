"""On 2,000 small problems the plan is what an exact solver finds, within the certified gap."""

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from ml.matching import MatchingPlan, MatchingProblem, solve_matching

KINDS = {
    "places": ("places",),
    "places and budget": ("places", "budget"),
    "places and minimums": ("places", "minimums"),
    "all money": ("places", "budget", "event budgets"),
    "minimums and budget": ("places", "minimums", "budget"),
    "everything but shares": ("places", "minimums", "budget", "event budgets"),
    "shares": ("places", "shares"),
    "everything": ("places", "minimums", "budget", "shares"),
}
PROBLEMS_A_KIND = 250


def problem_of(random: np.random.Generator, limits: tuple[str, ...]) -> MatchingProblem:
    """A small problem with ties, negative values, zero places and often minimums that nobody can meet."""
    users, events = int(random.integers(1, 16)), int(random.integers(1, 5))
    values = random.normal(1, 1, (users, events)) if random.random() < 0.5 else None
    chosen = {
        "places": {"capacities": random.integers(0, max(2, users // 2) + 1, events).astype(float)},
        "budget": {"budget": float(random.integers(0, users + 1))},
        "event budgets": {"event_budgets": random.integers(0, users + 1, events).astype(float)},
        "minimums": {"event_minimums": random.integers(0, users // events + 2, events) * (random.random(events) < 0.5)},
        "shares": {
            "segments": random.integers(0, 3, users),
            "segment_maximum_shares": np.array([0.5, 0.6, 1.0]),
            "segment_minimum_shares": np.array([0.0, 0.1, 0.2]),
        },
    }
    return MatchingProblem(
        values=random.integers(-1, 4, (users, events)).astype(float) if values is None else values,
        costs=random.integers(0, 4, (users, events)).astype(float),
        allowed=random.random((users, events)) < 0.8,
        **{name: limit for each in limits for name, limit in chosen[each].items()},
    )


def best_value(problem: MatchingProblem) -> float | None:
    """Value of the best plan by HiGHS, None where no plan meets all limits."""
    users, events = problem.values.shape
    candidate = (problem.values > 0) & problem.allowed
    by_event = np.kron(np.ones(users), np.eye(events))
    rows, least, most = [np.kron(np.eye(users), np.ones(events))], [np.zeros(users)], [np.ones(users)]

    def add(row: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        rows.append(np.atleast_2d(row))
        least.append(np.atleast_1d(low))
        most.append(np.atleast_1d(high))

    minimums = np.zeros(events) if problem.event_minimums is None else problem.event_minimums
    add(by_event, minimums, problem.capacities)
    if problem.budget is not None:
        add(problem.costs.ravel(), 0.0, problem.budget)
    if problem.event_budgets is not None:
        add(by_event * problem.costs.ravel(), np.zeros(events), problem.event_budgets)
    if problem.segments is not None:
        for segment in range(3):
            member = np.repeat((problem.segments == segment).astype(float), events)
            add(member - problem.segment_maximum_shares[segment], -np.inf, 0.0)
            add(member - problem.segment_minimum_shares[segment], 0.0, np.inf)
    found = milp(
        -problem.values.ravel(),
        integrality=np.ones(users * events),
        bounds=Bounds(0, candidate.ravel().astype(float)),
        constraints=LinearConstraint(np.vstack(rows), np.concatenate(least), np.concatenate(most)),
    )
    return None if found.status == 2 else -found.fun


def check_feasible(problem: MatchingProblem, plan: MatchingPlan) -> None:
    """All limits from above hold always; minimums where the plan says so; shares always."""
    chosen = np.flatnonzero(plan.event >= 0)
    events = plan.event[chosen]
    counts = np.bincount(events, minlength=problem.values.shape[1])
    costs = problem.costs[chosen, events]
    assert (problem.values[chosen, events] > 0).all()
    assert problem.allowed[chosen, events].all()
    assert (counts <= problem.capacities).all()
    assert problem.budget is None or costs.sum() <= problem.budget
    if problem.event_budgets is not None:
        spent = np.bincount(events, weights=costs, minlength=counts.size)
        assert (spent <= problem.event_budgets).all()
    if plan.is_feasible and problem.event_minimums is not None:
        assert (counts >= problem.event_minimums).all()
    if problem.segments is not None and chosen.size:
        sizes = np.bincount(problem.segments[chosen], minlength=3)
        assert (sizes <= problem.segment_maximum_shares * chosen.size + 1e-9).all()
        assert (sizes >= problem.segment_minimum_shares * chosen.size - 1e-9).all()


@pytest.mark.parametrize("kind", KINDS)
def test_plans_agree_with_an_exact_solver(kind: str) -> None:
    random = np.random.default_rng(sorted(KINDS).index(kind))
    lost, wrongly_infeasible, both_infeasible = [], 0, 0
    for _ in range(PROBLEMS_A_KIND):
        problem = problem_of(random, KINDS[kind])
        plan, best = solve_matching(problem), best_value(problem)
        check_feasible(problem, plan)
        if best is None:
            assert not plan.is_feasible
            both_infeasible += 1
            continue
        assert best <= plan.upper_bound + 1e-6
        if not plan.is_feasible:
            wrongly_infeasible += 1
            continue
        assert plan.value <= best + 1e-6
        lost.append(1 - plan.value / best if best > 0 else 0.0)
    with_shares = "shares" in KINDS[kind]
    # Shares of a plan of a few users are a matter of single users: those plans are kept feasible, not perfect.
    assert np.mean(lost) <= (0.15 if with_shares else 0.003)
    assert wrongly_infeasible <= (20 if with_shares else 0)
    assert ("minimums" in KINDS[kind]) == (both_infeasible > 0)
    if not with_shares and "budget" not in KINDS[kind]:
        assert np.max(lost) <= 1e-9
