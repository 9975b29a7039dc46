"""Transactions on the same consents at the same time: the withdrawal stands, the other is done again."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import psycopg
import pytest

from tests.warehouse.sources import good_source, write_csv
from warehouse import conflicts
from warehouse.conflicts import CONFLICT_TRIES, retry_conflicts
from warehouse.consents import record_consent
from warehouse.door import Warehouse, WarehouseError
from warehouse.landing import land_folder
from warehouse.settings import Settings

START = datetime(2030, 1, 1, tzinfo=UTC)
WITHDRAW = (
    "insert into privacy.consent_acts (source, user_id, channel, purpose, is_granted, decided_at) "
    "values ('user', %s, 'email', 'marketing', false, %s)"
)
WAITING = (
    "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' "
    "and wait_event <> 'advisory')"
)


def until(happens: Callable[[], object]) -> None:
    """Wait for something that is about to happen."""
    for _ in range(3_000):
        if happens():
            return
        time.sleep(0.01)
    raise AssertionError("it never happened")


def test_a_landing_that_meets_a_withdrawal_of_the_same_consent_lands_after_it(
    warehouse: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    """The landing's snapshot is older than the withdrawal it waited for: Postgres undoes it, and it is done again."""
    source = good_source()
    user = str(source["users"][0]["user_id"])
    consents = {"user_id": user, "channel": "email", "purpose": "marketing", "is_granted": "true"}
    source["consents"] = [{"consent_id": "late", "decided_at": "2031-01-01T00:00:00Z", **consents}]
    record_consent(warehouse, user, ["email"], is_granted=True, decided_at=START)
    with warehouse.connect() as withdrawing, ThreadPoolExecutor(1) as pool:
        withdrawing.execute(WITHDRAW, (user, START + timedelta(days=1)))
        landing = pool.submit(land_folder, write_csv(tmp_path / "source", source), settings)
        until(lambda: landing.done() or warehouse.scalar(WAITING))
        withdrawing.commit()
        report = landing.result()
    assert {table.table: table.good for table in report.tables}["consents"] == 1
    assert warehouse.scalar("select count(*) from raw.users") == len(source["users"])
    assert warehouse.scalar("select count(*) from privacy.consent_acts") == 3
    # The import's yes does not lift what the user refused.
    assert warehouse.scalar("select count(*) from privacy.granted_consents") == 0


def test_acts_that_wait_for_each_other_are_both_recorded(warehouse: Warehouse) -> None:
    """A transaction of two statements in the other order: one of the two is undone and done again."""
    with warehouse.connect() as other, ThreadPoolExecutor(1) as pool:
        other.execute(WITHDRAW, ("bob", START))
        # Of two acts in one call ann's comes first, and bob is then waited for.
        both = pool.submit(
            retry_conflicts,
            lambda: warehouse.execute(
                "insert into privacy.consent_acts (source, user_id, channel, purpose, is_granted, decided_at) "
                "select 'user', unnest(array['ann', 'bob']), 'email', 'marketing', false, %s",
                (START,),
            ),
            "two withdrawals",
        )
        until(lambda: both.done() or warehouse.scalar(WAITING))
        time.sleep(0.3)
        try:
            other.execute(WITHDRAW, ("ann", START))
            other.commit()
        except psycopg.errors.DeadlockDetected:
            other.rollback()
        assert both.result() == 2
    assert warehouse.scalar("select count(distinct user_id) from privacy.consent_acts") == 2


def test_after_so_many_conflicts_it_says_that_it_may_be_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(conflicts.time, "sleep", waited.append)
    tried: list[int] = []

    def conflicting() -> None:
        tried.append(1)
        raise duckdb.Error("Failed to execute query: ERROR:  could not serialize access due to concurrent update")

    with pytest.raises(
        WarehouseError, match=r"stopped the landing 10 times.*nothing was changed, run it again"
    ) as told:
        retry_conflicts(conflicting, "the landing")
    # Airflow gives up on ValueErrors alone.
    assert not isinstance(told.value, ValueError)
    assert len(tried) == CONFLICT_TRIES
    assert len(waited) == CONFLICT_TRIES - 1
    assert 0 < min(waited) < max(waited) <= conflicts.LONGEST_WAIT_SECONDS


def test_other_errors_are_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conflicts.time, "sleep", lambda _: pytest.fail("it waited"))
    for error in (duckdb.Error("violates check constraint"), psycopg.errors.UniqueViolation("twice")):

        def failing(error: Exception = error) -> None:
            raise error

        with pytest.raises(type(error)):
            retry_conflicts(failing, "it")
