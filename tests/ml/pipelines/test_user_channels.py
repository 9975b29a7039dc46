"""Chances hold for the channel over which a user would be invited, in a real Postgres."""

from dataclasses import replace

import numpy as np

from ml.pipelines.channels import read_user_channels
from ml.pipelines.matrix import response_matrix
from ml.pipelines.model import load_champion
from ml.pipelines.population import read_population
from ml.pipelines.train import train_models
from tests.ml.pipelines.house import DAY, House

# Half of the past invitations went over sms and kept their effect; those by e-mail moved nobody.
_ONLY_SMS_WORKS = """
    update features.training_examples set
        channel = case when right(example_id, 1) < '5' then 'sms' else 'email' end,
        has_returned = case
            when right(example_id, 1) < '5' or arm = 'control' then has_returned
            else hashtext(example_id) % 5 = 0
        end
"""
# The same, but whoever would be reached by e-mail comes back more often, invited or not.
_ONLY_SMS_WORKS_AND_MAIL_READERS_RETURN = """
    update features.training_examples set
        channel = case when right(example_id, 1) < '5' then 'sms' else 'email' end,
        has_returned = case when right(example_id, 1) < '5' then has_returned else hashtext(example_id) % 5 <> 0 end
"""
_TABLES_OF_DECISIONS = """
    create schema if not exists marts;
    create table marts.fct_exposures (user_id text, event_id text, exposed_at timestamptz, channel text, arm text);
    create table features.exposed_pairs (as_of_date date, user_id text, event_id text);
"""


def test_a_user_gets_the_channel_that_carries_most_and_its_chances(house: House) -> None:
    """Ranked by who came back everybody would get e-mail: only the factors know that it moves nobody."""
    house.fill(users=500, exposures=6000)
    house.warehouse.execute(_ONLY_SMS_WORKS_AND_MAIL_READERS_RETURN)
    house.warehouse.execute("update features.training_examples set has_converted = false where has_returned")
    house.warehouse.execute(
        "insert into features.eligible_user_channels"
        " select as_of_date, user_id, 'sms' from features.eligible_user_channels where hashtext(user_id) % 2 = 0"
    )
    house.warehouse.execute(_TABLES_OF_DECISIONS)
    train_models(DAY, house.settings)

    assert read_user_channels(house.warehouse, DAY, {})["channel"].eq("email").all()
    matrix = response_matrix(house.warehouse, DAY, house.settings)
    factors = matrix.channel_factors
    rule = replace(house.settings.business_rule, order_by="sessions_count_90d")
    channel = read_population(house.warehouse, matrix, replace(house.settings, business_rule=rule)).channel

    assert factors["sms"] > 1 > factors["email"]
    granted = house.warehouse.read_frame("select user_id, channel from features.eligible_user_channels")
    has_sms = np.isin(matrix.user_ids, granted["user_id"][granted["channel"] == "sms"].to_numpy(dtype=object))
    assert set(channel[has_sms]) == {"sms"}
    assert set(channel[~has_sms]) == {"email", ""}
    bonus = np.flatnonzero(matrix.events["event_type"] == "bonus")[0]
    uplift = matrix.p_return[:, bonus] - matrix.p_return_if_not_contacted
    assert uplift[channel == "email"].mean() < 0.7 * uplift[has_sms].mean()

    model, _, _ = load_champion(house.warehouse, DAY, house.settings)
    assert model.returns.uplift_.channels.factors == factors


def test_without_factors_the_channel_is_the_one_over_which_most_came_back(house: House) -> None:
    house.fill(users=60, exposures=400)
    house.warehouse.execute(_ONLY_SMS_WORKS)
    house.warehouse.execute(
        "insert into features.eligible_user_channels"
        " select as_of_date, user_id, 'sms' from features.eligible_user_channels"
    )
    house.warehouse.execute(
        "insert into privacy.suppressions (user_id, channel, reason)"
        " select user_id, case when hashtext(user_id) % 2 = 0 then 'sms' else 'all' end, 'asked'"
        " from features.eligible_user_channels where channel = 'sms' and hashtext(user_id) % 3 = 0"
    )

    channels = read_user_channels(house.warehouse, DAY, {})
    told = read_user_channels(house.warehouse, DAY, {"email": 1.5})

    assert set(channels["channel"]) == {"sms", "email", ""}
    assert set(told["channel"]) == {"email", ""}
    assert (channels["channel"] == "").equals(channels["is_suppressed"].astype(bool))
