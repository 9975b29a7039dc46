"""Four arms in every campaign, limits of single events and segments, and what earlier plans leave open."""

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from ml.experiments import assign
from ml.pipelines.decisions import Decisions, decide
from ml.pipelines.rules import DecisionError, EventLimits
from tests.ml.pipelines.test_decide_rules import AS_OF, free_world, rules

VECTORS = Path(__file__).parents[1] / "experiments" / "assignment_vectors.json"
ARMS = rules(exploration_share=0.2, rule_share=0.2, rule_top_share=0.5)
PLAIN = {"holdout_share": 0.0, "control_share": 0.0, "exploration_share": 0.0}


def four_arms(users: int = 4_000, **changes) -> tuple[np.ndarray, Decisions]:
    matrix, values, population = free_world(users)
    values[:] = np.abs(values) + 0.1
    matrix.events[["reward_cost", "contact_cost"]] = [[0.0, 2.0], [0.0, 1.0]]
    score = np.arange(users, dtype=float)
    score[::7] = np.nan
    return score, decide(matrix, values, replace(population, rule_score=score), replace(ARMS, **changes))


def test_every_campaign_has_four_arms_drawn_by_the_published_function() -> None:
    _, decisions = four_arms()
    frame, assigned = decisions.frame, decisions.assignments
    assert set(assigned["arm"]) == {"targeted", "random", "rule", "none", "holdout", "outside"}
    policy = assign(ARMS.policies(AS_OF), frame["user_id"])
    eligible = assigned["policy"].notna()
    assert (assigned["policy"][eligible] == policy[eligible]).all()
    chosen = frame["event_id"].notna()
    assert (frame["arm"][chosen] == policy[chosen]).all()
    assert (assigned["arm"][chosen] == frame["arm"].where(frame["decision"] == "target", "none")[chosen]).all()
    for arm in ("targeted", "random", "rule"):
        held = (frame["decision"] == "control")[frame["arm"] == arm].mean()
        assert held == pytest.approx(0.1, abs=0.05)
    assert assigned["salt"][chosen].str.match(r"control/7/e\d").all()
    assert set(assigned["salt"][assigned["arm"] == "holdout"]) == {ARMS.holdout_salt(AS_OF)}


def test_the_policy_vectors_never_change() -> None:
    frozen = json.loads(VECTORS.read_text(encoding="utf-8"))["policy"]
    used = rules(seed=frozen["seed"], exploration_share=frozen["exploration_share"], rule_share=frozen["rule_share"])
    used = replace(used, holdout_renewal_days=frozen["renewal_days"])
    assert assign(used.policies(date.fromisoformat(frozen["date"])), frozen["users"]).tolist() == frozen["policy"]


@given(st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.5))
@examples(max_examples=50, deadline=None)
def test_growing_a_share_takes_users_from_the_models_alone(one: float, two: float, rule: float, more: float) -> None:
    users = [str(number) for number in range(300)]
    low, high = sorted((one, two))
    less_rule, more_rule = sorted((rule, more))
    before = assign(rules(exploration_share=low, rule_share=less_rule).policies(AS_OF), users)
    after = assign(rules(exploration_share=high, rule_share=more_rule).policies(AS_OF), users)
    moved = before != after
    assert set(before[moved]) <= {"targeted"}


def test_the_rule_invites_the_first_of_its_order_to_the_cheapest_event() -> None:
    score, decisions = four_arms(holdout_share=0.0)
    frame = decisions.frame
    mine = assign(ARMS.policies(AS_OF), frame["user_id"]) == "rule"
    chosen = frame["event_id"].notna().to_numpy() & mine
    assert chosen.sum() == np.ceil(mine.sum() / 2)
    left_out = mine & ~chosen
    assert np.nanmin(score[chosen]) > np.nanmax(score[left_out])
    assert set(frame["event_id"][chosen]) == {"e1"}
    assert frame["reason"][chosen].str.contains("business's own rule").all()
    assert frame["reason"][left_out].str.startswith("Not among the first 50%").all()
    _, named = four_arms(rule_event="another type")
    assert "rule" not in set(named.frame["arm"])


def test_shares_above_everybody_are_refused() -> None:
    with pytest.raises(DecisionError, match="add up to more than 1"):
        rules(exploration_share=0.6, rule_share=0.5)


def limited(users: int, limits: EventLimits, **changes) -> pd.DataFrame:
    matrix, values, population = free_world(users)
    matrix.events["event_type"] = ["one", "two"]
    matrix.events[["reward_cost", "contact_cost"]] = [0.0, 1.0]
    values[:] = [2.0, 1.0]
    return decide(matrix, values, population, rules(**PLAIN, events={"two": limits}, **changes))


def test_an_event_keeps_its_own_budget_and_its_minimum() -> None:
    plan = limited(50, EventLimits(minimum=20))
    assert plan.frame["event_id"].value_counts().to_dict() == {"e0": 30, "e1": 20}
    assert any("The minimum of Event 1 costs 1.00" in note for note in plan.notes)
    plan = limited(50, EventLimits(minimum=60))
    assert (plan.frame["event_id"] == "e1").sum() == 50
    assert any("Out of reach: Event 1 gets 50 of at least 60 users" in note for note in plan.notes)
    plan = limited(50, EventLimits(minimum=20, budget=7.0))
    assert (plan.frame["event_id"] == "e1").sum() == 7
    assert any("Out of reach: Event 1 gets 7 of at least 20" in note for note in plan.notes)


def test_every_policy_keeps_the_budget_of_an_event() -> None:
    shares = {"exploration_share": 0.3, "rule_share": 0.3, "control_share": 0.2, "holdout_share": 0.0}
    matrix, values, population = free_world(600)
    matrix.events[["reward_cost", "contact_cost"]] = [0.0, 1.0]
    values[:] = 1.0
    frame = decide(matrix, values, population, rules(**shares, events={"type": EventLimits(budget=50.0)})).frame
    for event in ("e0", "e1"):
        assert 30 < frame.loc[frame["event_id"] == event, "cost"].sum() <= 50.0
    assert set(frame.loc[frame["decision"] == "target", "arm"]) == {"targeted", "random", "rule"}


def test_segments_keep_their_shares_of_the_targeted() -> None:
    matrix, values, population = free_world(300)
    population.segment[:100] = "loud"
    values[:] = np.abs(values) + np.where(np.arange(300) < 100, 2.0, 0.5)[:, None]
    used = rules(**PLAIN, budget=100.0, segment_shares={"loud": (None, 0.4), "gone": (0.1, None)})
    matrix.events[["reward_cost", "contact_cost"]] = [0.0, 1.0]
    plan = decide(matrix, values, population, used)
    segments = plan.frame.loc[plan.frame["decision"] == "target", "segment"].value_counts(normalize=True)
    assert segments["loud"] <= 0.4
    assert segments["loud"] > 0.35
    assert any("a user of loud costs" in note for note in plan.notes)
    assert any("No user is in the segment gone" in note for note in plan.notes)


def test_a_stopped_event_and_the_wrong_country_are_told() -> None:
    matrix, values, population = free_world(2)
    values[:] = 1.0
    barred = np.array([[False, True], [False, False]])
    stopped = {"e0": "The targeted arm returned 3.0 points less than no contact."}
    plan = decide(matrix, values, replace(population, is_barred=barred, stopped=stopped), rules(**PLAIN))
    assert plan.frame["decision"].tolist() == ["suppressed", "target"]
    assert plan.frame["reason"][0] == (
        "None of the 2 open events is for this user: 1 were stopped for harm, 1 are for other countries or ages."
    )
    assert plan.frame["event_id"][1] == "e1"
    assert plan.notes[0].startswith("Nobody is invited to e0 any more: The targeted arm returned 3.0 points less")


def test_nobody_moves_to_another_arm_of_a_campaign() -> None:
    """Dates in two periods: who was chosen before is chosen in the same way again, or not for this event."""
    matrix, values, population = free_world(3_000)
    values[:] = 1.0 + np.abs(values)
    first = decide(matrix, values, population, ARMS)
    later = replace(matrix, as_of_date=AS_OF + timedelta(days=200))
    chosen = first.assignments["event_id"].notna().to_numpy()
    policy, held = np.full(values.shape, "", dtype=object), np.zeros(values.shape, dtype=bool)
    columns = pd.Index(["e0", "e1"]).get_indexer(first.assignments["event_id"][chosen])
    policy[chosen, columns] = first.assignments["policy"][chosen]
    held[chosen, columns] = (first.assignments["arm"] == "none")[chosen]
    known = replace(population, earlier_policy=policy, was_held_back=held)
    second = decide(later, values, known, ARMS)
    both = first.assignments.merge(second.assignments, on=["user_id", "event_id"], suffixes=("", "_later"))
    both = both[both["event_id"].notna()]
    assert len(both) > 100
    assert (both["arm"] == both["arm_later"]).all()
    blind = decide(later, values, population, ARMS).assignments
    both = first.assignments.merge(blind, on=["user_id", "event_id"], suffixes=("", "_later"))
    both = both[both["event_id"].notna()]
    assert (both["arm"] != both["arm_later"]).any()
    # Without a renewal in between nothing has to be remembered: the draws are the same on every date.
    next_day = decide(replace(matrix, as_of_date=AS_OF + timedelta(days=1)), values, population, ARMS).assignments
    both = first.assignments.merge(next_day, on=["user_id", "event_id"], suffixes=("", "_later"))
    both = both[both["event_id"].notna()]
    assert (both["arm"] == both["arm_later"]).all()


def test_invitations_of_published_plans_count_towards_the_cap() -> None:
    matrix, values, population = free_world(3)
    values[:] = [2.0, 1.0]
    known = replace(
        population,
        recent_contacts=np.array([0, 1, 1]),
        planned_contacts=np.array([1, 1, 1]),
        is_planned=np.array([[True, False], [True, False], [False, False]]),
    )
    frame = decide(matrix, values, known, rules(**PLAIN, contacts_per_user=2)).frame
    # The first has a place for another; the second only for the event already planned; the third for none.
    assert frame["event_id"].tolist()[:2] == ["e0", "e0"]
    assert frame["decision"].tolist() == ["target", "target", "suppressed"]
    assert "closed by plans published before" in frame["reason"][2]


def test_the_report_says_what_a_campaign_can_show() -> None:
    _, decisions = four_arms()
    assert any("show a rise of" in note and "held back on this date alone" in note for note in decisions.notes)
