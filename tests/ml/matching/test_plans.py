"""What a plan promises whatever the problem: checked on problems drawn by hypothesis and on the odd ones by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ml.matching import MatchingError, MatchingPlan, MatchingProblem, describe_prices, solve_matching


@st.composite
def problems(draw: st.DrawFn) -> MatchingProblem:
    """Small problems with ties, zeros, negative values and every kind of limit."""
    users, events = draw(st.integers(0, 12)), draw(st.integers(0, 4))
    values = st.integers(-3, 6).map(float) if draw(st.booleans()) else st.floats(-3, 6, width=32)
    limit = st.one_of(st.just(math.inf), st.integers(0, users + 1).map(float))

    def maybe(strategy: st.SearchStrategy) -> np.ndarray | None:
        return draw(strategy) if draw(st.booleans()) else None

    return MatchingProblem(
        values=draw(arrays(np.float64, (users, events), elements=values)),
        costs=maybe(arrays(np.float64, (users, events), elements=st.floats(0, 3, width=32))),
        allowed=maybe(arrays(np.bool_, (users, events))),
        budget=draw(st.one_of(st.none(), st.floats(0, 20, width=32))),
        capacities=maybe(arrays(np.float64, events, elements=limit)),
        event_budgets=maybe(arrays(np.float64, events, elements=limit)),
    )


def check_limits(problem: MatchingProblem, plan: MatchingPlan) -> None:
    """No limit from above is exceeded and only candidates are chosen."""
    users, events = problem.values.shape
    chosen = np.flatnonzero(plan.event >= 0)
    columns = plan.event[chosen]
    costs = np.zeros((users, events)) if problem.costs is None else np.broadcast_to(problem.costs, (users, events))
    assert plan.event.shape == (users,)
    assert (problem.values[chosen, columns] > 0).all()
    assert problem.allowed is None or problem.allowed[chosen, columns].all()
    paid = costs[chosen, columns]
    assert problem.budget is None or math.fsum(paid) <= problem.budget
    for event in range(events):
        assert problem.capacities is None or (columns == event).sum() <= problem.capacities[event]
        assert problem.event_budgets is None or math.fsum(paid[columns == event]) <= problem.event_budgets[event]
    assert plan.value == pytest.approx(problem.values[chosen, columns].sum())
    assert plan.value <= plan.upper_bound


@given(problems())
@settings(max_examples=300, deadline=None)
def test_a_plan_keeps_every_limit_and_is_the_same_again(problem: MatchingProblem) -> None:
    plan = solve_matching(problem)
    check_limits(problem, plan)
    assert (solve_matching(problem).event == plan.event).all()


def test_without_limits_everybody_gets_the_best_event_and_the_plan_is_proven_optimal() -> None:
    values = np.array([[1.0, 2.0], [3.0, -1.0], [-1.0, -2.0], [4.0, 4.0]])
    plan = solve_matching(MatchingProblem(values))
    assert plan.event.tolist() == [1, 0, -1, 0]
    assert plan.value == 9.0
    assert plan.upper_bound == pytest.approx(9.0)
    assert plan.gap == pytest.approx(0.0)


def test_the_place_goes_to_whom_it_helps_most() -> None:
    values = np.array([[5.0, 4.0], [5.0, 1.0]])
    plan = solve_matching(MatchingProblem(values, capacities=np.array([1.0, 2.0])))
    assert plan.event.tolist() == [1, 0]
    assert plan.gap < 1e-3


def test_ties_go_to_the_earlier_user_and_event() -> None:
    tied = np.ones((5, 2))
    plan = solve_matching(MatchingProblem(tied, capacities=np.array([1.0, 2.0])))
    assert sorted(plan.event[:3].tolist()) == [0, 1, 1]
    assert plan.event[3:].tolist() == [-1, -1]
    assert solve_matching(MatchingProblem(tied)).event.tolist() == [0] * 5
    assert solve_matching(MatchingProblem(tied, costs=tied, budget=2.0)).event.tolist() == [0, 0, -1, -1, -1]


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_nothing_to_choose_is_an_empty_plan(shape: tuple[int, int]) -> None:
    plan = solve_matching(MatchingProblem(np.ones(shape), capacities=np.zeros(shape[1]), budget=0.0))
    assert plan.chosen == 0
    assert plan.gap == 0.0


def test_zero_capacity_and_zero_budget_choose_nobody() -> None:
    values = np.ones((3, 2))
    assert solve_matching(MatchingProblem(values, capacities=np.zeros(2))).chosen == 0
    assert solve_matching(MatchingProblem(values, costs=values, budget=0.0)).chosen == 0
    free = MatchingProblem(values, costs=np.array([[0.0, 1.0]] * 3), budget=0.0)
    assert solve_matching(free).event.tolist() == [0, 0, 0]


def test_the_price_of_a_seat_is_what_one_more_would_add() -> None:
    values = np.sort(np.random.default_rng(5).gamma(2.0, 1.0, (4_000, 1)), axis=0)[::-1].copy()
    plan = solve_matching(MatchingProblem(values, capacities=np.array([1_000.0])))
    more = solve_matching(MatchingProblem(values, capacities=np.array([1_001.0])))
    assert plan.prices.capacities[0] == pytest.approx(more.value - plan.value, rel=0.01)
    assert plan.gap < 1e-5


def test_prices_are_told_in_words_the_dearest_first() -> None:
    random = np.random.default_rng(6)
    problem = MatchingProblem(
        random.gamma(2.0, 1.0, (3_000, 3)) * [1.0, 2.0, 0.3],
        costs=np.ones(3),
        budget=900.0,
        capacities=np.array([np.inf, 300.0, np.inf]),
        event_minimums=np.array([0.0, 0.0, 200.0]),
    )
    plan = solve_matching(problem)
    told = describe_prices(plan, ["the cup", "the league", "the quiz"])
    assert told[0].startswith("One more unit of money in the budget would add ")
    assert any(text.startswith("One more place in the league is worth ") for text in told)
    assert any(text.startswith("The minimum of the quiz costs ") for text in told)
    assert not any("the cup" in text for text in told)
    more = solve_matching(MatchingProblem(**(vars(problem) | {"budget": 910.0})))
    assert plan.prices.budget == pytest.approx((more.value - plan.value) / 10, rel=0.05)
    assert plan.is_feasible
    assert plan.gap < 1e-3


def test_a_minimum_out_of_reach_is_reported_and_met_as_far_as_possible() -> None:
    values = np.array([[1.0, 5.0], [1.0, 5.0], [-1.0, 5.0]])
    plan = solve_matching(MatchingProblem(values, event_minimums=np.array([3.0, 0.0])))
    assert not plan.is_feasible
    assert plan.shortfalls == ("Event 0 gets 2 of at least 3 users.",)
    assert plan.event.tolist() == [0, 0, 1]


def test_a_minimum_takes_the_users_who_lose_least_by_it() -> None:
    values = np.array([[1.0, 5.0], [4.0, 5.0], [3.0, 5.0]])
    plan = solve_matching(MatchingProblem(values, event_minimums=np.array([2.0, 0.0])))
    assert plan.event.tolist() == [1, 0, 0]
    assert plan.gap == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    "wrong",
    [
        {"values": np.ones(3)},
        {"values": np.array([[np.nan]])},
        {"values": np.ones((2, 2)), "costs": np.ones(3)},
        {"values": np.ones((2, 2)), "costs": -np.ones((2, 2))},
        {"values": np.ones((2, 2)), "budget": -1.0},
        {"values": np.ones((2, 2)), "budget": float("nan")},
        {"values": np.ones((2, 2)), "capacities": np.ones(3)},
        {"values": np.ones((2, 2)), "allowed": np.ones((2, 3), dtype=bool)},
        {"values": np.ones((2, 2)), "segment_maximum_shares": np.ones(1)},
        {"values": np.ones((2, 2)), "segments": np.array([0, 1]), "segment_maximum_shares": np.ones(1)},
    ],
)
def test_a_malformed_problem_is_refused(wrong: dict) -> None:
    with pytest.raises(MatchingError):
        MatchingProblem(**wrong)
