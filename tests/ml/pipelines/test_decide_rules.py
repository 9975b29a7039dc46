"""One decision for every inactive user: the rules on figures alone, without a warehouse."""

import math
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.contracts import ResponseMatrix
from ml.experiments import is_in_share, users_for_proportions
from ml.pipelines.decisions import DecisionRules, Decisions, Population, decide, expected_costs

AS_OF = date(2018, 1, 2)
RULES = DecisionRules(
    budget=None,
    holdout_share=0.05,
    control_share=0.1,
    exploration_share=0.1,
    contacts_per_user=3,
    contact_days=28,
    seed=7,
)


def rules(**changes) -> DecisionRules:
    return DecisionRules(**(vars(RULES) | changes))


def world(
    users: int, events: int, seed: int = 0, *, has_evidence: bool = True
) -> tuple[ResponseMatrix, np.ndarray, Population]:
    """A matrix, values and a population at random; some users are silent, capped or were exposed before."""
    random = np.random.default_rng(seed)
    capacity = random.choice([np.nan, 0.0, 3.0, 10.0], events)
    matrix = ResponseMatrix(
        as_of_date=AS_OF,
        user_ids=np.array([f"user {number:05d}" for number in range(users)], dtype=object),
        events=pd.DataFrame(
            {
                "event_id": [f"e{number}" for number in range(events)],
                "event_type": "type",
                "title": [f"Event {number}" for number in range(events)],
                "reward_cost": random.choice([0.0, 1.5], events),
                "contact_cost": random.choice([0.0, 0.25], events),
                "capacity_left": capacity,
                "evidence": "adjusted" if has_evidence else "insufficient",
            }
        ),
        p_return=random.uniform(0.1, 0.6, (users, events)),
        p_return_if_not_contacted=random.uniform(0.0, 0.2, users),
        p_conversion=random.uniform(0.1, 0.9, (users, events)),
        p_conversion_if_not_contacted=random.uniform(0.1, 0.9, users),
        revenue=np.full((users, events), 10.0),
        revenue_if_not_contacted=np.full(users, 10.0),
        model_version="abc",
    )
    population = Population(
        channel=random.choice(np.array(["", "mail", "email"], dtype=object), users),
        is_suppressed=np.zeros(users, dtype=bool),
        recent_contacts=random.choice([0, 1, 2, 3, 5], users),
        already_exposed=random.random((users, events)) < 0.3,
        segment=np.full(users, "quiet", dtype=object),
    )
    return matrix, random.normal(1.0, 1.0, (users, events)).round(3), population


def chosen_costs(matrix: ResponseMatrix, frame: pd.DataFrame) -> pd.Series:
    """Expected cost of each chosen pair, controls included."""
    planned = frame["event_id"].notna()
    columns = pd.Index(matrix.events["event_id"]).get_indexer(frame.loc[planned, "event_id"])
    return pd.Series(expected_costs(matrix)[np.flatnonzero(planned), columns], index=frame.index[planned])


@given(
    users=st.integers(0, 60),
    events=st.integers(0, 4),
    seed=st.integers(0, 10**6),
    budget=st.one_of(st.none(), st.floats(0, 30)),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.5), st.floats(0, 0.5)),
    has_evidence=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_limits_and_rights_hold_for_every_user(users, events, seed, budget, shares, has_evidence) -> None:
    matrix, values, population = world(users, events, seed, has_evidence=has_evidence)
    chosen_rules = rules(
        budget=budget,
        holdout_share=shares[0],
        control_share=shares[1],
        exploration_share=shares[2],
        rule_share=shares[3],
        seed=seed,
    )
    decisions = decide(matrix, values, population, chosen_rules)
    frame = decisions.frame
    assert frame["user_id"].tolist() == matrix.user_ids.tolist()
    assert frame["decision"].isin(["target", "control", "holdout", "suppressed", "no_event"]).all()
    assert (frame["reason"] != "").all()
    check_rights(matrix, population, chosen_rules, frame)
    planned = frame[frame["event_id"].notna()]
    assert set(planned["decision"]) <= {"target", "control"}
    matched = frame[(frame["arm"] == "targeted") | (frame["decision"] == "target")]
    assert budget is None or math.fsum(chosen_costs(matrix, frame).loc[matched.index]) <= budget + 1e-9
    assert budget is None or math.fsum(frame["cost"]) <= budget + 1e-9
    places = matrix.events.set_index("event_id")["capacity_left"].fillna(np.inf)
    assert all(count <= places[event] for event, count in matched["event_id"].value_counts().items())
    assert (frame.loc[frame["decision"] != "target", "cost"] == 0).all()


def check_rights(matrix: ResponseMatrix, population: Population, used: DecisionRules, frame: pd.DataFrame) -> None:
    """Nobody held out, silent, capped or exposed to the event before is among the chosen."""
    planned = frame["event_id"].notna().to_numpy()
    if matrix.events.empty:
        assert not planned.any()
        assert (frame["decision"] == "no_event").all()
        return
    held = is_in_share(used.holdout_salt(AS_OF), used.holdout_share, matrix.user_ids)
    assert ((frame["decision"] == "holdout") == held).all()
    assert not planned[population.channel == ""].any()
    assert not planned[population.recent_contacts >= used.contacts_per_user].any()
    columns = pd.Index(matrix.events["event_id"]).get_indexer(frame["event_id"])
    assert not population.already_exposed[planned, columns[planned]].any()


def test_the_same_again_is_the_same_to_the_byte() -> None:
    first, second = (decide(*world(500, 3), rules(budget=40.0)).frame.to_csv() for _ in range(2))
    assert first == second


def free_world(users: int, events: int = 2) -> tuple[ResponseMatrix, np.ndarray, Population]:
    """Everybody may be invited to everything and there is a place for all."""
    matrix, values, population = world(users, events)
    matrix.events["capacity_left"] = np.nan
    population.channel[:] = "mail"
    population.recent_contacts[:] = 0
    population.already_exposed[:] = False
    return matrix, values, population


def test_shares_come_out_as_set_and_controls_are_like_targets() -> None:
    matrix, values, population = free_world(40_000)
    values[:] = 1.0 + values * 0.01
    decisions = decide(matrix, values, population, RULES)
    frame = decisions.frame
    share = frame["decision"].value_counts(normalize=True)
    assert share["holdout"] == pytest.approx(0.05, abs=0.005)
    assert share["control"] == pytest.approx(0.95 * 0.1, abs=0.006)
    assert (frame["arm"] == "random").mean() == pytest.approx(0.95 * 0.1, abs=0.006)
    for arm in ("targeted", "random"):
        of_arm = frame[frame["arm"] == arm]
        assert (of_arm["decision"] == "control").mean() == pytest.approx(0.1, abs=0.02)
    assert (frame.loc[frame["decision"].isin(["target", "control"]), "propensity"] == 0.9).all()
    assert (frame.loc[frame["arm"] == "random", "selection_probability"] == 0.5).all()
    assert (frame.loc[frame["arm"] == "targeted", "selection_probability"] == 1.0).all()


def test_the_event_that_adds_most_is_chosen_and_the_reason_says_why() -> None:
    matrix, values, population = free_world(3)
    values[:] = [[2.0, 1.0], [-1.0, -0.5], [0.5, 3.0]]
    frame = decide(matrix, values, population, rules(holdout_share=0.0, control_share=0.0, exploration_share=0.0)).frame
    assert frame["decision"].tolist() == ["target", "no_event", "target"]
    assert frame["event_id"].tolist()[0::2] == ["e0", "e1"]
    assert frame["reason"][0].startswith("Event 0 adds 2.00")
    assert "Next best: Event 1 with 1.00" in frame["reason"][0]
    assert frame["reason"][0].endswith("Over mail.")
    assert "No event adds value: the best, Event 1, would change -0.50" in frame["reason"][1]
    assert frame["channel"].tolist()[0] == "mail"
    assert frame["expected_incremental_value"].tolist()[0::2] == [2.0, 3.0]


def reasons_of(**changes) -> Decisions:
    matrix, values, population = free_world(1)
    values[:] = 1.0
    for name, value in changes.items():
        getattr(population, name)[:] = value
    return decide(matrix, values, population, rules(holdout_share=0.0, control_share=0.0, exploration_share=0.0))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"channel": ""}, "No marketing consent for any channel."),
        ({"is_suppressed": True}, "On the suppression list for every channel with consent."),
        ({"recent_contacts": 4}, "Contacted 4 times in 28 days; at most 3."),
        ({"already_exposed": True}, "Already exposed to every open event (2)."),
    ],
)
def test_the_suppressed_are_told_why(changes: dict, reason: str) -> None:
    frame = reasons_of(**changes).frame
    assert frame["decision"].tolist() == ["suppressed"]
    assert frame["reason"].tolist() == [reason]


def test_without_an_open_event_nobody_gets_one_and_nobody_is_held_out() -> None:
    frame = decide(*world(50, 0), RULES).frame
    assert (frame["decision"] == "no_event").all()
    assert set(frame["reason"]) == {"No event is open on 2018-01-02."}


def first_plan(users: int, **changes) -> Decisions:
    matrix, values, population = free_world(users, events=4)
    matrix.events["evidence"] = "insufficient"
    values[:] = -1.0
    return decide(matrix, values, population, rules(**changes))


def test_a_cold_start_is_drawn_at_random_with_known_chances_and_half_held_back() -> None:
    decisions = first_plan(2_000, budget=300.0)
    planned = decisions.frame[decisions.frame["event_id"].notna()]
    assert len(planned) > 150
    assert set(planned["arm"]) == {"random"}
    assert planned["selection_probability"].between(0.25, 1.0).all()
    assert (planned["propensity"] == 0.5).all()
    assert (planned["decision"] == "control").mean() == pytest.approx(0.5, abs=0.1)
    assert planned["reason"].str.contains("what the open events do is not known yet").all()
    assert "which shows a rise of" in decisions.notes[0]


def test_a_first_plan_takes_no_more_users_than_the_power_calculator_asks_for() -> None:
    decisions = first_plan(20_000)
    planned = decisions.frame["event_id"].notna()
    asked = 2 * math.ceil(users_for_proportions(0.1, 0.15))
    assert planned.sum() == pytest.approx(asked, rel=0.02)
    assert "shows a rise of 5." in decisions.notes[0]
    rest = decisions.frame[~planned & (decisions.frame["decision"] != "holdout")]
    assert set(rest["decision"]) == {"no_event"}
    assert rest["reason"].str.startswith("Not drawn: the first plan is randomised").all()


def test_a_budget_that_binds_is_spent_on_those_who_bring_most() -> None:
    matrix, values, population = free_world(300, events=1)
    matrix.events[["reward_cost", "contact_cost"]] = [0.0, 1.0]
    frame = decide(
        matrix,
        values,
        population,
        rules(budget=20.0, holdout_share=0.0, control_share=0.0, exploration_share=0.0),
    ).frame
    targets = frame["decision"] == "target"
    assert targets.sum() == 20
    assert values[targets.to_numpy(), 0].min() >= np.sort(values[:, 0])[-20]
    assert frame.loc[~targets & (values[:, 0] > 0), "reason"].str.contains("bring").all()


def test_a_choice_that_adds_less_than_its_error_is_not_taken() -> None:
    matrix, values, population = world(2000, 3, 5)
    sure = decide(matrix, values, population, RULES)
    gain = sure.frame.loc[sure.frame["arm"] == "targeted", "expected_incremental_value"].sum()
    asked = []

    def error_of(users: np.ndarray, events: np.ndarray, channels: np.ndarray) -> float:
        asked.append((len(users), (channels != "").all()))
        return error

    error = 0.99 * gain
    assert decide(matrix, values, population, RULES, error_of).frame.equals(sure.frame)
    error = 1.01 * gain
    doubted = decide(matrix, values, population, RULES, error_of)
    assert asked == [(int((sure.frame["arm"] == "targeted").sum()), True)] * 2
    # Chance goes on drawing: nobody would ever know more.
    is_random = sure.frame["arm"] == "random"
    assert is_random.any()
    assert (doubted.frame.loc[is_random, "event_id"] == sure.frame.loc[is_random, "event_id"]).all()
    assert not (doubted.frame["arm"] == "targeted").any()
    assert f"expected to add {gain:.2f}, but its standard error is {error:.2f}" in doubted.notes[0]
    left = doubted.frame[(sure.frame["arm"] == "targeted")]
    assert left["reason"].str.startswith("The models' plan is too unsure to be taken").all()
