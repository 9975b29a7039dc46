"""The stage `decide_targets` on a real warehouse: what it reads, what it writes, and that it writes the same again."""

import hashlib
from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from ml.contracts import ResponseMatrix
from ml.pipelines import decide
from ml.pipelines.decisions import DecisionError
from warehouse.door import Warehouse
from warehouse.settings import Settings

AS_OF = date(2018, 1, 2)
USERS = 400

FEATURES = """
create table features.feat_user_behaviour (user_id text, as_of_date date, is_inactive boolean);
create table features.feat_user_money (user_id text, as_of_date date, payments_amount_365d numeric);
create table features.eligible_user_channels (as_of_date date, user_id text, channel text);
create table features.exposed_pairs (as_of_date date, user_id text, event_id text);
create table features.training_examples (
    channel text, arm text, is_inactive boolean, has_returned boolean, return_known_at timestamptz
);
create table marts.fct_exposures (user_id text, event_id text, exposed_at timestamptz, channel text, arm text);
insert into features.feat_user_behaviour select 'o''user ' || n, date '2018-01-02', n < 400
from generate_series(0, 450) as n;
insert into features.feat_user_money select 'o''user ' || n, date '2018-01-02', nullif(n, 3)
from generate_series(0, 450) as n;
insert into features.eligible_user_channels select date '2018-01-02', 'o''user ' || n, channel
from generate_series(0, 450) as n, unnest(array['email', 'sms']) as channel where n % 5 <> 0;
insert into features.exposed_pairs select date '2018-01-02', 'o''user ' || n, 'e0' from generate_series(0, 40) as n;
insert into marts.fct_exposures select 'o''user ' || n, 'e0', timestamptz '2017-12-30 12:00+00', 'email', 'treated'
from generate_series(0, 20) as n, generate_series(1, 3);
insert into marts.fct_exposures values ('o''user 31', 'e0', timestamptz '2018-01-02 00:00+00', 'email', 'treated');
insert into features.training_examples
select channel, 'treated', true, n <= case channel when 'sms' then 60 else 30 end, timestamptz '2017-12-01 00:00+00'
from generate_series(1, 100) as n, unnest(array['email', 'sms']) as channel;
insert into features.training_examples
select 'email', 'treated', true, true, timestamptz '2018-02-01 00:00+00' from generate_series(1, 1000);
insert into privacy.suppressions (user_id, channel, reason) values ('o''user 101', 'all', 'asked'),
    ('o''user 102', 'sms', 'bounced');
"""


def matrix(users: int = USERS, events: int = 3) -> ResponseMatrix:
    random = np.random.default_rng(3)
    return ResponseMatrix(
        as_of_date=AS_OF,
        user_ids=np.array(sorted(f"o'user {number}" for number in range(users)), dtype=object),
        events=pd.DataFrame(
            {
                "event_id": [f"e{number}" for number in range(events)],
                "event_type": "type",
                "title": [f"Event {number}" for number in range(events)],
                "reward_cost": 1.0,
                "contact_cost": 0.1,
                "capacity_left": [np.nan, 30.0, 0.0][:events],
                "evidence": "adjusted",
            }
        ),
        p_return=random.uniform(0.2, 0.6, (users, events)),
        p_return_if_not_contacted=random.uniform(0.0, 0.2, users),
        p_conversion=random.uniform(0.1, 0.9, (users, events)),
        p_conversion_if_not_contacted=random.uniform(0.1, 0.9, users),
        revenue=np.full((users, events), 10.0),
        revenue_if_not_contacted=np.full(users, 10.0),
        model_version="abc",
        value_of_a_return=np.zeros(users),
    )


@pytest.fixture
def built(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """A warehouse with features; the champion's matrix is given, since what it learns is another room's test."""
    with warehouse.transaction() as connection:
        connection.execute(FEATURES)
    monkeypatch.setattr(decide, "response_matrix", lambda *_: matrix())
    monkeypatch.setattr(decide, "error_of_plans", lambda *_: lambda *_: 0.0)
    monkeypatch.setattr(decide, "explain_users", lambda *given, **_: np.array([f"why {user}" for user in given[3]]))
    return warehouse


def decisions(warehouse: Warehouse) -> pd.DataFrame:
    return warehouse.read_frame("select * from predictions.decisions order by user_id").set_index("user_id")


def content(warehouse: Warehouse) -> str:
    with warehouse.transaction() as connection, connection.cursor() as cursor:
        statement = "copy (select * from predictions.decisions order by as_of_date, user_id) to stdout"
        with cursor.copy(statement) as copy:
            return hashlib.sha256(b"".join(bytes(block) for block in copy)).hexdigest()


def test_every_inactive_user_gets_one_decision_within_the_limits(built: Warehouse, settings: Settings) -> None:
    report = decide.decide_targets(AS_OF, replace(settings, budget=Decimal("60.5")))
    frame = decisions(built)
    assert report.rows == len(frame) == USERS
    targets = frame[frame["decision"] == "target"]
    assert len(targets) > 20
    assert built.scalar("select sum(cost) <= 60.5 from predictions.decisions where decision = 'target'")
    assert (targets["event_id"] == "e1").sum() <= 30
    assert not (targets["event_id"] == "e2").any()
    assert set(frame["decision"]) == {"target", "control", "holdout", "suppressed", "no_event"}
    plan = built.read_frame("select * from predictions.plans")
    assert plan["targets"].tolist() == [len(targets)]
    assert plan["cost"][0] == pytest.approx(targets["cost"].sum())
    assert plan["value"][0] <= plan["upper_bound"][0]
    assert plan["gap"][0] < 0.01
    # Who was chosen, invited or held back, however, is told why; nobody else is.
    chosen = frame["decision"].isin(["target", "control"])
    assert (frame["explanation"][chosen] == "why " + frame.index[chosen]).all()
    assert frame["explanation"][~chosen].isna().all()


def test_rights_come_from_the_warehouse(built: Warehouse, settings: Settings) -> None:
    decide.decide_targets(AS_OF, replace(settings, holdout_share=0.0))
    frame = decisions(built)
    assert frame.loc["o'user 5", "reason"] == "No marketing consent for any channel."
    assert frame.loc["o'user 7", "reason"] == "Contacted 3 times in 28 days; at most 3."
    assert frame.loc["o'user 101", "reason"] == "On the suppression list for every channel with consent."
    exposed = frame.loc[[f"o'user {number}" for number in range(41)]]
    assert not (exposed["event_id"] == "e0").any()
    # sms brought more users back, as far as was known on the date; who is on the list for sms gets email.
    invited = frame[frame["channel"].notna()]
    assert set(invited.drop(index="o'user 102", errors="ignore")["channel"]) == {"sms"}
    assert frame.loc["o'user 102", "channel"] in ("email", None) or pd.isna(frame.loc["o'user 102", "channel"])


def test_the_same_again_is_the_same_to_the_byte(built: Warehouse, settings: Settings) -> None:
    decide.decide_targets(AS_OF, settings)
    first = content(built)
    decide.decide_targets(AS_OF, settings)
    assert content(built) == first
    decide.decide_targets(AS_OF, replace(settings, seed=1))
    assert content(built) != first


def test_a_plan_that_is_too_unsure_is_told_and_not_taken(
    built: Warehouse, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide.decide_targets(AS_OF, settings)
    assert "targeted" in set(decisions(built)["arm"])
    monkeypatch.setattr(decide, "error_of_plans", lambda *_: lambda *_: 1e9)
    report = decide.decide_targets(AS_OF, settings)
    assert any("its standard error is 1000000000.00" in message for message in report.messages)
    frame = decisions(built)
    assert set(frame.loc[frame["event_id"].notna(), "arm"]) == {"random", "rule"}


def test_without_evidence_the_first_plan_is_random(
    built: Warehouse, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = matrix()
    unknown.events["evidence"] = "insufficient"
    monkeypatch.setattr(decide, "response_matrix", lambda *_: unknown)
    report = decide.decide_targets(AS_OF, settings)
    frame = decisions(built)
    assert set(frame.loc[frame["event_id"].notna(), "arm"]) == {"random"}
    assert any("drawn at random" in message for message in report.messages)


@pytest.mark.parametrize(("users", "events"), [(USERS, 0), (0, 3)])
def test_nothing_to_decide_is_no_error(
    users: int, events: int, built: Warehouse, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    built.execute("update features.feat_user_behaviour set is_inactive = is_inactive and %s", (users > 0,))
    monkeypatch.setattr(decide, "response_matrix", lambda *_: matrix(users, events))
    assert decide.decide_targets(AS_OF, settings).rows == users
    assert set(decisions(built)["decision"]) <= {"no_event"}
    assert built.scalar("select count(*) from predictions.plans") == 1


def test_users_who_were_not_scored_stop_the_stage(built: Warehouse, settings: Settings) -> None:
    built.execute("update features.feat_user_behaviour set is_inactive = true")
    with pytest.raises(DecisionError, match="451 users are inactive on 2018-01-02, but the response matrix has 400"):
        decide.decide_targets(AS_OF, settings)
