"""The gate in a real Postgres: empty, stale, half and insane batches stop the chain and say why."""

from __future__ import annotations

import importlib
from datetime import date

import pytest

import expectations
from expectations.gate import GateClosedError, suite_names, validate_landed, validate_predictions
from expectations.suite import CRITICAL, WARNING
from warehouse.door import Warehouse
from warehouse.settings import Settings

AS_OF = date(2026, 3, 1)


def land(
    warehouse: Warehouse, *, users: int = 300, first_day: str = "2026-01-01", last_day: str = "2026-02-28"
) -> None:
    """One user a row, and one session a user and day."""
    warehouse.execute(
        "insert into raw.users (user_id, registered_at, _batch_id) "
        "select 'user-' || n, timestamptz '2025-12-01 00:00:00+00' + n * interval '1 minute', 'batch' "
        f"from generate_series(1, {users}) as n"
    )
    warehouse.execute(
        "insert into raw.sessions (session_id, user_id, started_at, duration_seconds, _batch_id) "
        "select user_id || '-' || day, user_id, day + interval '9 hours', 60, 'batch' from raw.users "
        "cross join generate_series(timestamptz '2026-01-01 00:00:00+00', '2026-02-28 00:00:00+00', '1 day') as day"
    )


def findings(warehouse: Warehouse, condition: str) -> list[str]:
    frame = warehouse.read_frame(f"select because from audit.expectation_results where {condition} order by because")
    return frame["because"].tolist()


def test_a_sound_batch_passes_and_every_finding_is_recorded(warehouse: Warehouse, settings: Settings) -> None:
    land(warehouse)
    report = validate_landed(AS_OF, settings)
    assert report.messages == ()
    assert report.rows >= 300 * 60
    assert len(findings(warehouse, "is_met")) == report.details["expectations"] > 5
    validate_landed(AS_OF, settings)
    assert len(findings(warehouse, "true")) == report.details["expectations"], "a rerun replaces its findings"


def test_an_empty_batch_is_a_failure(warehouse: Warehouse, settings: Settings) -> None:
    with pytest.raises(GateClosedError, match="choose a later as_of_date"):
        validate_landed(AS_OF, settings)
    assert findings(warehouse, "not is_met and severity = 'critical'")


def test_a_date_before_all_data_is_a_failure_that_says_so(warehouse: Warehouse, settings: Settings) -> None:
    land(warehouse)
    with pytest.raises(GateClosedError, match="choose a later as_of_date"):
        validate_landed(date(2001, 1, 1), settings)


def test_a_stale_batch_warns_first_and_stops_later(warehouse: Warehouse, settings: Settings) -> None:
    land(warehouse)
    warned = validate_landed(date(2026, 3, 20), settings)
    assert any("more than 3 days before" in message for message in warned.messages)
    with pytest.raises(GateClosedError, match="more than 90 days before"):
        validate_landed(date(2026, 9, 1), settings)


def test_a_few_users_may_have_been_away_for_long(warehouse: Warehouse, settings: Settings) -> None:
    land(warehouse, users=2)
    warned = validate_landed(date(2026, 9, 1), settings)
    assert any("more than 3 days before" in message for message in warned.messages)


def test_half_a_week_stops_the_chain(warehouse: Warehouse, settings: Settings) -> None:
    land(warehouse)
    warehouse.execute(
        "delete from raw.sessions where started_at > '2026-02-22' and right(user_id, 1) in ('1', '2', '3')"
    )
    validate_landed(AS_OF, settings)
    warehouse.execute("delete from raw.sessions where started_at > '2026-02-22' and right(user_id, 1) <> '9'")
    with pytest.raises(GateClosedError, match="last week of sessions"):
        validate_landed(AS_OF, settings)


def test_a_source_that_is_mostly_refused_stops_the_chain(warehouse: Warehouse, settings: Settings) -> None:
    land(warehouse)
    receipt = (
        "insert into audit.landings "
        "(landing_id, table_name, batch_id, source, received, good, quarantined, duplicates, released) values "
    )
    warehouse.execute(receipt + "(1, 'sessions', 'a', 'sessions.csv', 100, 90, 10, 0, 0)")
    assert any("quarantine" in message for message in validate_landed(AS_OF, settings).messages)
    warehouse.execute(receipt + "(2, 'sessions', 'b', 'sessions.csv', 100, 40, 60, 0, 0)")
    with pytest.raises(GateClosedError, match="quarantined"):
        validate_landed(AS_OF, settings)
    # Only the newest landing counts: a mended export opens the gate again.
    warehouse.execute(receipt + "(3, 'sessions', 'c', 'sessions.csv', 100, 100, 0, 0, 0)")
    assert validate_landed(AS_OF, settings).messages == ()


def test_strange_payments_warn_and_do_not_stop(warehouse: Warehouse, settings: Settings) -> None:
    land(warehouse)
    warehouse.execute(
        "insert into raw.payments (payment_id, user_id, paid_at, amount, currency, kind, _batch_id) values "
        "('1', 'user-1', '2026-01-05', 1000000000000, 'EUR', 'purchase', 'batch'), "
        "('2', 'user-1', '2026-01-06', 2000000000000, 'EUR', 'refund', 'batch')"
    )
    said = " ".join(validate_landed(AS_OF, settings).messages)
    assert "above a million" in said
    assert "refunds exceed payments" in said


def test_predictions_without_features_are_a_failure(warehouse: Warehouse, settings: Settings) -> None:
    """An empty batch of predictions passes only where the features say that nobody is inactive."""
    make_features(warehouse, inactive=0, active=0)
    with pytest.raises(GateClosedError, match="every inactive user has exactly one row"):
        validate_predictions(AS_OF, settings)


def make_features(warehouse: Warehouse, *, inactive: int, active: int) -> None:
    """The relations of dbt that the gate compares with."""
    for statement in (
        f"create table features.feat_user_behaviour as select n::text as user_id, date '{AS_OF}' as as_of_date, "
        f"n <= {inactive} as is_inactive from generate_series(1, {inactive + active}) as n",
        f"create table features.open_events as select date '{AS_OF}' as as_of_date, 'event' as event_id, "
        "'Event' as title, 1 as capacity_left",
        f"create table features.eligible_user_channels as select date '{AS_OF}' as as_of_date, n::text as user_id, "
        "'email' as channel from generate_series(1, 2) as n",
    ):
        warehouse.execute(statement)


def decide(
    warehouse: Warehouse, user: str, decision: str = "no_event", *, channel: str = "null", cost: float = 0
) -> None:
    event = "'event'" if decision == "target" else "null"
    arm = "'targeted'" if decision == "target" else "'none'"
    warehouse.execute(
        "insert into predictions.decisions (as_of_date, user_id, decision, arm, event_id, channel, reason, propensity, "
        "expected_incremental_value, cost, segment, model_version) values "
        f"('{AS_OF}', '{user}', '{decision}', {arm}, {event}, {channel}, 'because', 1, 0, {cost}, 'all', 'v')"
    )


def score(warehouse: Warehouse, user: str) -> None:
    warehouse.execute(
        "insert into predictions.user_scores (as_of_date, user_id, segment, p_alive, p_return_if_not_contacted, "
        "p_return_best, p_conversion, lifetime_value, value_score, social_influence, is_reachable, model_version) "
        f"values ('{AS_OF}', '{user}', 'all', 0.5, 0.1, 0.2, 0.1, 10, 1, 0, true, 'v')"
    )


def test_complete_and_sane_predictions_pass_and_each_broken_promise_stops_them(
    warehouse: Warehouse, settings: Settings
) -> None:
    make_features(warehouse, inactive=3, active=2)
    for user in ("1", "2", "3"):
        score(warehouse, user)
    decide(warehouse, "1", "target", channel="'email'", cost=1)
    decide(warehouse, "2")
    with pytest.raises(GateClosedError, match="every inactive user has exactly one row"):
        validate_predictions(AS_OF, settings)
    decide(warehouse, "3")
    assert validate_predictions(AS_OF, settings).rows >= 6

    broken = {
        "more guests than seats": "update predictions.decisions set decision = 'target', event_id = 'event', "
        "channel = 'email', arm = 'targeted' where user_id = '2'",
        "channel without consent": "update predictions.decisions set channel = 'sms' where user_id = '1'",
        "event that is not open": "update predictions.decisions set event_id = 'closed' where user_id = '1'",
        "outside \\[0, 1\\]": "update predictions.user_scores set p_return_best = 1.5 where user_id = '1'",
    }
    for sentence, statement in broken.items():
        backup = "create table backup_of_{0} as select * from predictions.{0}"
        for table in ("decisions", "user_scores"):
            warehouse.execute(backup.format(table))
        warehouse.execute(statement)
        with pytest.raises(GateClosedError, match=sentence):
            validate_predictions(AS_OF, settings)
        for table in ("decisions", "user_scores"):
            warehouse.execute(f"delete from predictions.{table}")
            warehouse.execute(f"insert into predictions.{table} select * from backup_of_{table}")
            warehouse.execute(f"drop table backup_of_{table}")
    assert validate_predictions(AS_OF, settings).rows >= 6


def test_every_suite_is_one_table_and_every_expectation_has_a_severity_and_a_reason(settings: Settings) -> None:
    names = suite_names(("raw__", "audit__", "predictions__"))
    assert len(names) >= 8
    for name in names:
        suite = importlib.import_module(f"expectations.{name}").suite(expectations.Border(AS_OF, settings))
        assert name.replace("__", ".", 1) in suite.batch_query, f"{name} is about another table"
        assert suite.expectations
        for expectation in suite.expectations:
            assert expectation.meta["because"]
            assert expectation.severity in {CRITICAL, WARNING}
            query = getattr(expectation, "unexpected_rows_query", "")
            if "join" in query:  # then it names the batch itself, as Postgres before 16 asks for
                assert query.count("{batch}") == query.count("{batch} as batch")
