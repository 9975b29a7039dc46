"""Plans beside the product's: they keep the limits, and know as much as they are meant to know."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from local.evaluation.__main__ import describe
from local.evaluation.plans import (
    NOBODY,
    Board,
    PastExamples,
    analyst_plan,
    attainable_values,
    best_plan,
    likeliest_plan,
    plan_value,
    random_plan,
)
from local.evaluation.run import Evaluation, World
from local.evaluation.truth import WorldTruth
from local.samples import game_world

USERS, EVENTS = 1_200, 2


@pytest.fixture(scope="module")
def features() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    return pd.DataFrame(
        {"trait": draw.standard_normal(USERS), "word": draw.choice(["a", "b"], USERS), "flag": draw.random(USERS) < 0.5}
    )


@pytest.fixture
def board() -> Board:
    allowed = np.ones((USERS, EVENTS), dtype=bool)
    allowed[:100] = False
    return Board(allowed=allowed, capacities=np.array([150.0, np.inf]))


@pytest.fixture(scope="module")
def past(features: pd.DataFrame) -> PastExamples:
    """Users above 0 on the trait return more often when invited to the first event, and never mind the second."""
    draw = np.random.default_rng(1)
    treated = draw.random(USERS) < 0.6
    kind = np.where(draw.random(USERS) < 0.5, "first", "second")
    effect = treated & (kind == "first") & (features["trait"] > 0).to_numpy()
    returned = (draw.random(USERS) < np.where(effect, 0.7, 0.1)).astype(int)
    return PastExamples(features, np.where(treated, kind, ""), treated, returned, np.where(returned == 1, 10.0, np.nan))


EVENT_FRAME = pd.DataFrame({"event_type": ["first", "second"], "reward_cost": [0.1, 0.1], "contact_cost": [0.5, 0.5]})


def test_a_random_plan_keeps_the_limits(board: Board) -> None:
    plan = random_plan(board, 600, random_state=np.random.default_rng(0))
    assert (plan[:100] == NOBODY).all()
    assert (plan == 0).sum() == 150
    assert (plan != NOBODY).sum() == 600


def test_the_analyst_finds_a_plain_effect_and_keeps_the_limits(
    board: Board, past: PastExamples, features: pd.DataFrame
) -> None:
    plan, values = analyst_plan(past, features, EVENT_FRAME, board)
    assert (plan == 0).sum() == 150
    assert (features["trait"][plan == 0] > 0).mean() > 0.9
    assert values[features["trait"] > 0.5, 0].mean() > 2 > values[features["trait"] < -0.5, 0].mean()


def test_the_likeliest_are_invited_to_the_event_that_most_came_back_after(
    board: Board, past: PastExamples, features: pd.DataFrame
) -> None:
    plan = likeliest_plan(past, features, EVENT_FRAME, board, 200)
    assert (plan != NOBODY).sum() == 200
    assert (plan == 0).sum() == 150
    assert (features["trait"][plan != NOBODY] > 0).mean() > 0.8


def test_the_ceiling_learns_from_other_users_only(features: pd.DataFrame) -> None:
    noise = np.random.default_rng(2).standard_normal((USERS, 1))
    known = features["trait"].to_numpy()[:, None] * 2
    learned = attainable_values([features[["trait", "word"]]], known + noise)
    assert np.corrcoef(learned[:, 0], known[:, 0])[0, 1] > 0.95
    # With the users' own truth among what is learned, the noise would be predicted as well.
    assert abs(np.corrcoef(learned[:, 0] - known[:, 0], noise[:, 0])[0, 1]) < 0.15


@pytest.mark.parametrize("users", [1, 7])
def test_in_a_world_of_a_few_the_ceiling_is_what_others_are_worth(users: int) -> None:
    alike = pd.DataFrame({"trait": np.ones(users)})
    worth = np.arange(users, dtype=float)[:, np.newaxis]
    learned = attainable_values([alike], worth)[:, 0]
    if users == 1:
        assert learned.tolist() == [0.0]
    else:
        assert np.ptp(learned) > 0
        assert ((learned > 0) & (learned < users - 1)).all()


def test_the_best_plan_is_worth_more_than_any_other(board: Board) -> None:
    values = np.random.default_rng(3).standard_normal((USERS, EVENTS))
    best = plan_value(best_plan(values, board), values)
    assert best > plan_value(random_plan(board, 1_100, random_state=np.random.default_rng(0)), values)
    assert best <= values[100:].max(axis=1).clip(min=0).sum()
    assert plan_value(np.full(USERS, NOBODY), values) == 0


def test_the_true_value_is_that_of_the_world_in_any_order(tmp_path: Path) -> None:
    game_world.write_source(tmp_path / "source", players=400, truth_folder=tmp_path / "truth")
    rows = pd.read_parquet(tmp_path / "truth" / "responses.parquet")
    users = np.append(rows["user_id"].unique()[::-1], "a stranger").astype(object)
    events = rows["event_id"].unique()[::-1]
    truth = WorldTruth.read(tmp_path / "truth", users, events)
    values = truth.values(truth.best_channel)
    stated = rows.pivot_table(index="user_id", columns="event_id", values="expected_value").loc[users[:-1], events]
    np.testing.assert_allclose(values[:-1], stated.to_numpy(), atol=1e-12)
    assert (values[-1] == 0).all()
    assert (truth.values(np.full(len(users), "", dtype=object)) == 0).all()
    by_push = truth.values(np.full(len(users), "push", dtype=object))
    assert not np.allclose(by_push[:-1], values[:-1])


def test_an_evaluation_can_be_read_by_people_and_programs() -> None:
    evaluation = Evaluation(
        world=World("slopes", 20_000, 1),
        oracle=20.0,
        attainable=10.0,
        product=8.0,
        product_as_shipped=6.0,
        analyst=4.0,
        likeliest=-1.0,
        random=-2.0,
        contacts=12,
        expected=9.0,
        users=100,
        calibration_error=0.01,
        segment_calibration_errors={"Newcomers": 0.02},
        segment_money={"Newcomers": 1.1},
        interval_coverage=0.94,
        return_correlation=0.5,
        uplift_correlation=0.4,
        seconds={"train_models": 3.2},
        notes=(),
    )
    text = describe(evaluation)
    assert "slopes, 20,000 players, seed 1" in text
    assert "80%" in text
    assert "94% of the true uplifts" in text
    assert "worst segment (Newcomers): 0.0200" in text
    assert "expected over true: Newcomers 1.10" in text
    assert "tuned on this world" in text
    assert "tuned on this world" not in describe(replace(evaluation, world=World("slopes", 20_000, 12)))
    assert json.loads(evaluation.to_json())["world"]["variant"] == "slopes"
