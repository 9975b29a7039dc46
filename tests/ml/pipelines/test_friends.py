"""What returns brought through friends reaches the users' scores and, by its weight, the value of inviting them."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from ml.pipelines import batches
from ml.pipelines.batches import read_user_batches
from ml.pipelines.friends import FRIEND_SUMS
from ml.pipelines.score import score_users
from ml.pipelines.train import train_models
from tests.ml.pipelines.house import DAY, House
from warehouse.settings import ValueWeights

TABLES = """
create table features.friend_moments (user_id text, is_after_return boolean, period_number integer,
    silence_group integer, earlier_lapses_group integer, inactive_friends_count float8, returned_friends_count float8);
create table features.feat_user_social (user_id text, as_of_date date, friends_count bigint,
    active_friends_count bigint);
"""


def add_friends(house: House, *, pull: float) -> None:
    """Friends return in one of ten windows, and so much more often after a return of the user; users differ in that."""
    with house.warehouse.transaction() as connection:
        connection.execute(TABLES)
    draw = np.random.default_rng(4)
    users = house.warehouse.read_frame(
        "select user_id from features.feat_user_behaviour where as_of_date = %s order by user_id", (DAY,)
    )["user_id"]
    rows = []
    for is_after, rate in ((True, 0.1 + pull), (False, 0.1)):
        for number in range(1_000):
            user = users[number % 60] if number < 60 else f"elsewhere {number}"
            own = draw.beta(8 * rate, 8 * (1 - rate))
            rows.append((user, is_after, 0, 1, 0, 10.0, float(draw.binomial(10, own))))
    columns = ["user_id", "is_after_return", "period_number", "silence_group", "earlier_lapses_group"]
    columns += ["inactive_friends_count", "returned_friends_count"]
    house.write("friend_moments", pd.DataFrame(rows, columns=columns))
    friends = pd.DataFrame({"user_id": users, "as_of_date": DAY, "friends_count": np.arange(len(users)) % 4})
    house.write("feat_user_social", friends.assign(active_friends_count=np.minimum(friends["friends_count"], 1)))


def scored(house: House, weight: float = 0.0) -> pd.DataFrame:
    settings = replace(house.settings, value_weights=ValueWeights(lifetime_value=0.0, social_influence=weight))
    score_users(DAY, settings)
    users = house.warehouse.read_frame(
        "select scores.*, social.friends_count, social.active_friends_count, seen.seen, seen.returned, seen.expected"
        " from predictions.user_scores as scores join features.feat_user_social as social using (user_id, as_of_date)"
        " left join predictions.friend_returns as seen using (user_id, as_of_date) order by user_id"
    )
    best = house.warehouse.read_frame(
        "select user_id, max(uplift) as uplift, max(expected_value) as expected_value"
        " from predictions.response_scores where event_id = 'event 0' group by user_id"
    )
    return users.merge(best, on="user_id").set_index("user_id")


def test_planted_influence_reaches_scores_and_by_its_weight_the_value(house: House) -> None:
    house.fill(exposures=400)
    add_friends(house, pull=0.15)
    train_models(DAY, house.settings)
    metrics = house.warehouse.scalar("select metrics from predictions.model_versions")
    assert metrics["influence_extra_rate"] == pytest.approx(0.15, abs=0.03)
    users = scored(house)
    inactive_friends = users["friends_count"] - users["active_friends_count"]
    assert (users.loc[inactive_friends == 0, "social_influence"] == 0).all()
    assert (users.loc[inactive_friends > 0, "social_influence"] > 0).mean() > 0.9
    # Of users with equally many inactive friends, those are worth more whose friends followed them.
    two = users[(inactive_friends == 2) & users["seen"].notna()]
    assert np.corrcoef(two["returned"] - two["expected"], two["social_influence"])[0, 1] > 0.5
    weighted = scored(house, weight=1.0)
    both = users.join(weighted[["expected_value"]], rsuffix="_weighted")
    assert (both["expected_value_weighted"] - both["expected_value"]).to_numpy() == pytest.approx(
        (both["uplift"] * both["social_influence"]).to_numpy(), abs=1e-4
    )


def test_without_friendships_nobody_is_credited_and_it_is_said(house: House) -> None:
    house.fill(exposures=100)
    report = train_models(DAY, house.settings)
    assert any("influence on friends counts as 0" in message for message in report.messages)
    score_users(DAY, house.settings)
    assert house.warehouse.scalar("select sum(social_influence) from predictions.user_scores") == 0


def test_users_of_each_range_come_with_what_the_last_training_saw_of_their_friends(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.fill()
    monkeypatch.setattr(batches, "ROWS_PER_RANGE", 15)
    house.warehouse.execute(
        "insert into raw.users (user_id, registered_at, _landing_id, _batch_id)"
        " select distinct user_id, cast('2017-01-01' as timestamptz), 1, 'b' from features.feat_user_behaviour"
    )
    days = pd.DataFrame({"as_of_date": [DAY - timedelta(days=7), DAY, DAY + timedelta(days=7)]})
    users = house.warehouse.read_frame("select distinct user_id from features.feat_user_behaviour order by user_id")
    seen = users[::3].merge(days, how="cross")
    seen[list(FRIEND_SUMS)] = np.random.default_rng(5).random((len(seen), len(FRIEND_SUMS)))
    with house.warehouse.transaction() as connection:
        house.warehouse.copy_frame(connection, "predictions.friend_returns", seen)
    parts = list(read_user_batches(house.warehouse, DAY, [], with_event_features=False, rows=7))
    assert len(parts) > 3
    found = np.concatenate([part.friend_sums for part in parts])
    index = pd.concat([part.features for part in parts]).index
    of_day = seen[seen["as_of_date"] == DAY].set_index("user_id")
    expected = of_day[list(FRIEND_SUMS)].reindex(index).to_numpy()
    assert 0 < np.isnan(expected).sum() < expected.size
    np.testing.assert_array_equal(found, expected)
