"""E3: sixteen threads that decide and publish at once break no promise."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pytest

from ml.contracts import ResponseMatrix
from ml.experiments import is_in_share
from ml.pipelines import decide
from ml.pipelines.decide import rules_of
from ml.pipelines.publish import publish_targets
from tests.ml.pipelines.test_decide_targets import matrix as one_matrix
from warehouse.door import Warehouse
from warehouse.settings import Settings

FIRST = date(2018, 1, 2)
DATES = [FIRST + timedelta(days=number) for number in range(8)]
USERS, CAPACITY, BUDGET, CAP = 400, 30, Decimal(60), 2

TABLES = """
create table features.feat_user_behaviour (user_id text, as_of_date date, is_inactive boolean);
create table features.feat_user_money (user_id text, as_of_date date, payments_amount_365d numeric);
create table features.eligible_user_channels (as_of_date date, user_id text, channel text);
create table features.exposed_pairs (as_of_date date, user_id text, event_id text);
create table features.training_examples (
    channel text, arm text, is_inactive boolean, has_returned boolean, return_known_at timestamptz
);
create table marts.fct_exposures (user_id text, event_id text, exposed_at timestamptz, channel text, arm text);
"""

EVERY_DATE = """
insert into features.feat_user_behaviour select 'o''user ' || n, %(day)s, true from generate_series(0, 399) as n;
insert into features.feat_user_money select 'o''user ' || n, %(day)s, n from generate_series(0, 399) as n;
insert into features.eligible_user_channels select %(day)s, 'o''user ' || n, 'email' from generate_series(0, 399) as n;
insert into predictions.user_scores (as_of_date, user_id, segment, is_reachable, model_version)
select %(day)s, 'o''user ' || n, 's', true, 'abc' from generate_series(0, 399) as n;
"""


def matrix_of(day: date) -> ResponseMatrix:
    """Other chances on every date, so that the plans differ."""
    given = one_matrix(USERS)
    random = np.random.default_rng((day - FIRST).days)
    given.events["capacity_left"] = [np.nan, float(CAPACITY), 0.0]
    return replace(given, as_of_date=day, p_return=random.uniform(0.2, 0.6, (USERS, 3)))


@pytest.fixture
def built(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """Eight dates with features, everybody agreed, some had a contact; what models learn is another room's test."""
    with warehouse.transaction() as connection:
        connection.execute(TABLES)
        for day in DATES:
            for statement in EVERY_DATE.strip().split(";")[:-1]:
                connection.execute(statement, {"day": day})
        connection.execute(
            "insert into raw.consents select 'c' || n, 'o''user ' || n, 'email', 'marketing', true, '2017-01-01', 'b' "
            "from generate_series(0, 399) as n"
        )
        connection.execute(
            "insert into marts.fct_exposures select 'o''user ' || n, 'old', timestamptz '2017-12-30 12:00+00', "
            "'email', 'treated' from generate_series(0, 99) as n"
        )
    monkeypatch.setattr(decide, "response_matrix", lambda _, day, __: matrix_of(day))
    monkeypatch.setattr(decide, "error_of_plans", lambda *_: lambda *_: 0.0)
    monkeypatch.setattr(decide, "explain_users", lambda *given, **_: np.array([f"why {user}" for user in given[3]]))
    return warehouse


def test_no_promise_is_broken_by_sixteen_threads(built: Warehouse, settings: Settings) -> None:
    strict = replace(
        settings,
        budget=BUDGET,
        caps=replace(settings.caps, contacts_per_user=CAP, days=28),
        exploration_share=0.2,
        holdout_renewal_days=4,
    )

    def work(number: int) -> None:
        day = DATES[number % len(DATES)]
        decide.decide_targets(day, strict)
        publish_targets(day, strict)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, [*range(16), *range(16)]))
    check_shown(built, strict, DATES[-1])
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda day: decide.decide_targets(day, strict), DATES * 2))
    for day in DATES:  # and once in order, as a backfill does: the caps of all plans together must hold
        publish_targets(day, strict, may_go_back=True)
        decide.decide_targets(day, strict)
        publish_targets(day, strict, may_go_back=True)
        check_shown(built, strict, day)
    check_plans(built, strict)


def check_shown(warehouse: Warehouse, settings: Settings, day: date) -> None:
    """What marketing sees: one date, within budget and places, nobody of the holdout."""
    shown = warehouse.read_frame("select * from marketing.targets")
    assert set(shown["as_of_date"].dt.date) == {day}
    assert shown["cost"].sum() <= float(BUDGET) + 1e-6
    assert (shown["event_id"] == "e1").sum() <= CAPACITY
    held = is_in_share(rules_of(settings).holdout_salt(day), settings.holdout_share, shown["user_id"])
    assert not held.any()


def check_plans(warehouse: Warehouse, settings: Settings) -> None:
    """All plans together: one decision a user and date, one arm a user and event, the cap over all dates."""
    decisions = warehouse.read_frame("select as_of_date, count(*) as n from predictions.decisions group by as_of_date")
    assert decisions["n"].tolist() == [USERS] * len(DATES)
    plans = warehouse.read_frame(
        "select as_of_date, sum(cost) as cost, sum(cast(event_id = 'e1' as integer)) as places "
        "from predictions.decisions where decision = 'target' group by as_of_date"
    )
    assert (plans["cost"] <= float(BUDGET) + 1e-6).all()
    assert (plans["places"] <= CAPACITY).all()
    arms = warehouse.read_frame(
        "select user_id, event_id, count(distinct arm || coalesce(policy, '')) as arms from experiments.assignments "
        "where event_id is not null group by user_id, event_id"
    )
    assert len(arms) > 50
    assert (arms["arms"] == 1).all()
    contacts = warehouse.read_frame(
        "select user_id, count(*) as n from (select user_id, event_id from experiments.invitations "
        "union select user_id, event_id from marts.fct_exposures) as contacts group by user_id"
    )
    assert contacts["n"].max() <= CAP
    assert (contacts["n"] == CAP).any()
    held = warehouse.scalar(
        "select count(*) from experiments.invitations inner join experiments.assignments using (as_of_date, user_id) "
        "where assignments.arm in ('holdout', 'none', 'outside')"
    )
    assert held == 0
