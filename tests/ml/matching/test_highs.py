"""On 2,000 small problems the plan is what an exact solver finds, within the certified gap."""

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, milp

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
    "equal values, shares": ("ties", "places", "budget", "shares"),
    "equal values, everything": ("ties", "places", "minimums", "budget", "event budgets", "shares"),
}
PROBLEMS_A_KIND = 200


def problem_of(random: np.random.Generator, limits: tuple[str, ...]) -> MatchingProblem:
    """A small problem with ties, negative values, zero places and often minimums that nobody can meet."""
    users, events = int(random.integers(1, 16)), int(random.integers(1, 5))
    values = random.normal(1, 1, (users, events)) if random.random() < 0.5 else None
    if "ties" in limits:
        values = np.ones((users, events))
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
        **{name: limit for each in limits if each != "ties" for name, limit in chosen[each].items()},
    )


def best_value(problem: MatchingProblem) -> tuple[float | None, float]:
    """Value of the best plan by HiGHS, None where no plan meets all limits; and the users that minimums must lack."""
    users, events = problem.values.shape
    candidate = (problem.values > 0) & problem.allowed
    by_event = np.kron(np.ones(users), np.eye(events))
    rows, least, most = [np.kron(np.eye(users), np.ones(events))], [np.zeros(users)], [np.ones(users)]

    def add(row: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        rows.append(np.atleast_2d(row))
        least.append(np.atleast_1d(low))
        most.append(np.atleast_1d(high))

    minimums = np.zeros(events) if problem.event_minimums is None else problem.event_minimums
    add(by_event, minimums, np.full(events, np.inf))
    add(by_event, np.zeros(events), problem.capacities)
    if problem.budget is not None:
        add(problem.costs.ravel(), 0.0, problem.budget)
    if problem.event_budgets is not None:
        add(by_event * problem.costs.ravel(), np.zeros(events), problem.event_budgets)
    if problem.segments is not None:
        for segment in range(3):
            member = np.repeat((problem.segments == segment).astype(float), events)
            add(member - problem.segment_maximum_shares[segment], -np.inf, 0.0)
            add(member - problem.segment_minimum_shares[segment], 0.0, np.inf)
    limits = np.concatenate(least), np.concatenate(most)
    # One more variable an event: users that it lacks to its minimum, none at first.
    lacks = np.zeros((limits[0].size, events))
    lacks[users : users + events] = np.eye(events)
    matrix = np.hstack([np.vstack(rows), lacks])

    def solve(cost: np.ndarray, most_lacking: float) -> OptimizeResult:
        upper = np.append(candidate.ravel().astype(float), np.full(events, most_lacking))
        return milp(
            cost, integrality=np.ones(cost.size), bounds=Bounds(0, upper), constraints=LinearConstraint(matrix, *limits)
        )

    found = solve(np.append(-problem.values.ravel(), np.zeros(events)), 0.0)
    if found.status != 2:
        return -found.fun, 0.0
    return None, solve(np.append(np.zeros(users * events), np.ones(events)), np.inf).fun


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
def test_plans_are_those_of_an_exact_solver(kind: str) -> None:
    random = np.random.default_rng(sorted(KINDS).index(kind))
    both_infeasible = 0
    for _ in range(PROBLEMS_A_KIND):
        problem = problem_of(random, KINDS[kind])
        plan = solve_matching(problem)
        best, lacking = best_value(problem)
        check_feasible(problem, plan)
        assert plan.is_feasible == (best is not None)
        if best is None:
            both_infeasible += 1
            counts = np.bincount(plan.event[plan.event >= 0], minlength=problem.values.shape[1])
            assert np.maximum(0, problem.event_minimums - counts).sum() == pytest.approx(lacking)
            continue
        assert plan.value == pytest.approx(best, rel=1e-6, abs=1e-6)
        assert best <= plan.upper_bound + 1e-6
        assert plan.gap <= 1e-3
    assert ("minimums" in KINDS[kind]) == (both_infeasible > 0)


@pytest.mark.parametrize("values", ["equal", "whole", "tenths", "any"])
@pytest.mark.parametrize("has_minimums", [False, True])
def test_ties_and_shares_of_thousands_leave_no_gap(values: str, *, has_minimums: bool) -> None:
    """Prices alone settle nobody here: all users of a kind are worth the same, and shares tie users to each other."""
    random, users = np.random.default_rng(5), 4_000
    problem = MatchingProblem(
        values={
            "equal": np.ones((users, 4)),
            "whole": random.integers(-1, 4, (users, 4)).astype(float),
            "tenths": np.round(random.normal(1, 1, (users, 4)), 1),
            "any": random.normal(1, 1, (users, 4)),
        }[values],
        costs=np.tile([0.5, 1.0, 1.5, 2.0], (users, 1)),
        allowed=np.ones((users, 4), dtype=bool),
        capacities=users * np.array([0.1, 0.2, 0.3, 0.4]),
        budget=users * 0.3,
        event_minimums=users * np.array([0.05, 0.0, 0.02, 0.0]) if has_minimums else None,
        segments=random.choice(3, users, p=[0.6, 0.3, 0.1]),
        segment_maximum_shares=np.array([0.5, 0.6, 1.0]),
        segment_minimum_shares=np.array([0.0, 0.1, 0.2]),
    )
    plan = solve_matching(problem)
    check_feasible(problem, plan)
    assert plan.is_feasible
    assert plan.gap <= 1e-3
    assert (solve_matching(problem).event == plan.event).all()
