"""P1: no consent, never in an audience; a withdrawal works at its commit; an import never turns a no into a yes."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.warehouse.consent_rule import is_granted
from warehouse.consents import record_consent, suppress_user
from warehouse.door import Warehouse, WarehouseError

START = datetime(2026, 1, 1, tzinfo=UTC)
ROLES = ("rekindle_pipeline", "rekindle_marketing", "rekindle_bi")
TARGET = (
    "(as_of_date, user_id, rank, segment, event_id, event_type, channel, arm, model_version, reason) "
    "values ('2026-01-01', '{user}', {rank}, 's', 'e', 't', '{channel}', 'targeted', 'v', 'because')"
)


def land(connection: psycopg.Connection, rows: list[tuple[str, str, str, bool, datetime]]) -> None:
    """Put consents (id, user, channel, granted, when) into raw as a landing does."""
    columns = "consent_id, user_id, channel, purpose, is_granted, decided_at, _batch_id, _landing_id"
    with connection.cursor().copy(f"copy raw.consents ({columns}) from stdin") as copy:
        for consent_id, user, channel, granted, when in rows:
            copy.write_row((consent_id, user, channel, "marketing", granted, when, "batch", 1))


def granted_pairs(warehouse: Warehouse) -> set[tuple[str, str]]:
    with warehouse.transaction() as connection:
        return set(connection.execute("select user_id, channel from privacy.granted_consents").fetchall())


def invite(connection: psycopg.Connection, user: str, channel: str = "email", rank: int = 1) -> None:
    connection.execute("insert into marketing.targets " + TARGET.format(user=user, channel=channel, rank=rank))


def audience(warehouse: Warehouse) -> list[str]:
    with warehouse.transaction() as connection:
        return [row[0] for row in connection.execute("select user_id from marketing.targets order by 1")]


def test_a_refusal_with_rekindle_is_lifted_by_the_user_alone(warehouse: Warehouse) -> None:
    with warehouse.transaction() as connection:
        land(connection, [("1", "ann", "email", True, START), ("2", "bob", "email", False, START)])
    assert granted_pairs(warehouse) == {("ann", "email")}
    record_consent(warehouse, "ann", ["email", "sms"], is_granted=False, decided_at=START + timedelta(days=1))
    assert granted_pairs(warehouse) == set()
    with warehouse.transaction() as connection:
        later = START + timedelta(days=9)
        land(connection, [("3", "ann", "email", True, later), ("4", "bob", "email", True, later)])
    assert granted_pairs(warehouse) == {("bob", "email")}
    again = {"is_granted": True, "decided_at": START + timedelta(days=2), "act_id": "page/1"}
    assert record_consent(warehouse, "ann", ["email"], **again) == 1
    assert record_consent(warehouse, "ann", ["email"], **again) == 0
    assert granted_pairs(warehouse) == {("ann", "email"), ("bob", "email")}
    with pytest.raises(WarehouseError, match="time zone"):
        record_consent(warehouse, "ann", ["email"], is_granted=True, decided_at=START.replace(tzinfo=None))


def test_landing_the_same_acts_again_changes_nothing(warehouse: Warehouse) -> None:
    rows = [("1", "ann", "email", True, START), ("2", "ann", "email", False, START)]
    with warehouse.transaction() as connection:
        land(connection, rows)
        connection.execute("truncate raw.consents")
        land(connection, rows[::-1])
    assert warehouse.scalar("select count(*) from privacy.consent_acts") == 2
    assert granted_pairs(warehouse) == set()


def test_nobody_without_a_grant_gets_into_the_audience_by_any_way_as_any_role(warehouse: Warehouse) -> None:
    record_consent(warehouse, "ann", ["email"], is_granted=True, decided_at=START)
    record_consent(warehouse, "eve", ["email"], is_granted=True, decided_at=START, purpose="profiling")
    with warehouse.transaction() as connection:
        invite(connection, "ann")
    row = "2026-01-01\teve\t2\ts\te\tt\temail\ttargeted\tv\tbecause\n"
    columns = "as_of_date, user_id, rank, segment, event_id, event_type, channel, arm, model_version, reason"
    ways = {
        "insert": lambda connection: invite(connection, "eve", rank=2),
        "update of the user": lambda connection: connection.execute("update marketing.targets set user_id = 'eve'"),
        "update of the channel": lambda connection: connection.execute("update marketing.targets set channel = 'sms'"),
        "update of the purpose": lambda connection: connection.execute(
            "update marketing.targets set user_id = 'eve', purpose = 'profiling'"
        ),
        "copy": lambda connection: copy_row(connection, columns, row),
        "insert from select": lambda connection: connection.execute(
            f"insert into marketing.targets ({columns}) select as_of_date, 'eve', 2, segment, event_id, event_type, "
            "channel, arm, model_version, reason from marketing.targets"
        ),
        "merge": lambda connection: connection.execute(
            "merge into marketing.targets using (values ('eve')) as new (user_id) on true "
            "when matched then update set user_id = new.user_id"
        ),
        "forged grant": lambda connection: connection.execute(
            "insert into privacy.granted_consents values ('eve', 'email', 'marketing', '2026-01-01')"
        ),
        "stretched grant": lambda connection: connection.execute(
            "update privacy.granted_consents set granted_at = '2020-01-01'"
        ),
        "forged state": lambda connection: connection.execute("update privacy.consent_states set is_granted = true"),
        "rewritten act": lambda connection: connection.execute("update privacy.consent_acts set purpose = 'marketing'"),
        "deleted act": lambda connection: connection.execute("delete from privacy.consent_acts"),
        "emptied ledger": lambda connection: connection.execute("truncate privacy.consent_acts"),
        "rewritten list": lambda connection: connection.execute("delete from privacy.suppressions"),
    }
    for role in (None, *ROLES):
        for way, attempt in ways.items():
            with warehouse.connect() as connection:
                if role:
                    connection.execute(f"set role {role}")
                with pytest.raises((psycopg.IntegrityError, psycopg.errors.InsufficientPrivilege)):
                    print(f"{way} as {role or 'owner'}:", attempt(connection))
    assert audience(warehouse) == ["ann"]


def copy_row(connection: psycopg.Connection, columns: str, row: str) -> None:
    with connection.cursor().copy(f"copy marketing.targets ({columns}) from stdin") as copy:
        copy.write(row)


def test_withdrawal_and_suppression_take_the_user_out_at_the_commit(warehouse: Warehouse) -> None:
    for rank, user in enumerate(("ann", "bob", "cem"), start=1):
        record_consent(warehouse, user, ["email"], is_granted=True, decided_at=START)
        with warehouse.transaction() as connection:
            invite(connection, user, rank=rank)
    record_consent(warehouse, "ann", ["email"], is_granted=False, decided_at=START + timedelta(days=1))
    assert audience(warehouse) == ["bob", "cem"]
    suppress_user(warehouse, "bob", reason="bounced", suppressed_at=START, channel="sms")
    assert audience(warehouse) == ["bob", "cem"]
    suppress_user(warehouse, "bob", reason="complained", suppressed_at=START)
    assert audience(warehouse) == ["cem"]
    suppress_user(warehouse, "bob", reason="a mistake", suppressed_at=START, is_suppressed=False)
    assert warehouse.read_frame("select user_id, channel from privacy.current_suppressions").to_dict("records") == [
        {"user_id": "bob", "channel": "sms"}
    ]


def test_acts_of_one_user_at_once_end_in_the_newest(warehouse: Warehouse) -> None:
    """60 users, eight acts each from eight threads in any order: the newest one stands."""

    def act(number: int) -> None:
        for user in range(60):
            says = (user + number) % 3 != 0
            record_consent(
                warehouse,
                f"user {(user * 7 + number) % 60}",
                ["email"],
                is_granted=says,
                decided_at=START + timedelta(hours=(number * 5 + user) % 8),
            )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(act, range(8)))
    acts = warehouse.read_frame("select user_id, source, is_granted, decided_at from privacy.consent_acts")
    acts["hour"] = acts["decided_at"].dt.hour
    told = {
        user: is_granted([(str(row.source), bool(row.is_granted), int(row.hour)) for row in rows.itertuples()])
        for user, rows in acts.groupby("user_id")
    }
    assert {user for user, _ in granted_pairs(warehouse)} == {user for user, says in told.items() if says}
