"""What a run of the project does to relations that stand already, and to what others built on them."""

from __future__ import annotations

from datetime import date

import psycopg
import pytest

from tests.dbt_project.building import DbtProject, relations_of
from tests.dbt_project.random_world import draw_world

AS_OF_DATE = date(2026, 1, 10)
VIEW = "path:models/marts/dim_events.sql"
TABLE = "path:models/marts/fct_user_refund_days.sql"


@pytest.fixture
def built_url(warehouse_url: str, dbt_project: DbtProject) -> str:
    draw_world(5).write(warehouse_url)
    dbt_project.build(warehouse_url, AS_OF_DATE, select=[f"+{VIEW}", f"+{TABLE}"])
    return warehouse_url


def columns_of(connection: psycopg.Connection, relation: str) -> list[str]:
    found = connection.execute(
        "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 order by attnum", (relation,)
    )
    return [name for (name,) in found]


def test_a_view_of_others_on_ours_survives_a_run(built_url: str, dbt_project: DbtProject) -> None:
    with psycopg.connect(built_url, autocommit=True) as connection:
        connection.execute("create view public.their_report as select count(*) as events from marts.dim_events")
        (before,) = connection.execute("select events from public.their_report").fetchone() or (0,)
        dbt_project.build(built_url, AS_OF_DATE, select=[f"+{VIEW}"], full_refresh=True)
        assert connection.execute("select events from public.their_report").fetchone() == (before,)
    assert before > 0
    assert [name for name in relations_of(built_url, ["staging", "marts"]) if "__dbt_" in name] == []


@pytest.mark.parametrize(
    "old",
    [
        "view marts.dim_events as select 1 as event_id, 2 as column_that_is_gone",
        "view marts.dim_events as select 1::bigint as event_id",
        "table marts.dim_events as select 1 as event_id",
    ],
)
def test_what_stood_there_before_may_have_been_anything(old: str, built_url: str, dbt_project: DbtProject) -> None:
    with psycopg.connect(built_url, autocommit=True) as connection:
        wanted = columns_of(connection, "marts.dim_events")
        connection.execute("drop view marts.dim_events cascade")
        connection.execute(f"create {old}")
        connection.execute("create view public.their_report as select event_id from marts.dim_events")
        dbt_project.build(built_url, AS_OF_DATE, select=[VIEW])
        assert columns_of(connection, "marts.dim_events") == wanted
        # It read what is no longer there.
        assert connection.execute("select to_regclass('public.their_report')").fetchone() == (None,)


def test_a_run_drops_one_relation_at_a_time(built_url: str, dbt_project: DbtProject) -> None:
    """Two drops that reach the same reader would wait for each other, and Postgres would end one of them."""
    with psycopg.connect(built_url, autocommit=True) as connection, connection.transaction():
        connection.execute("alter database " + connection.info.dbname + " set lock_timeout = '1s'")
    with psycopg.connect(built_url) as other:
        other.execute("select pg_advisory_xact_lock(hashtext('rekindle: drop of a relation and its readers'))")
        with pytest.raises(AssertionError, match="lock timeout"):
            dbt_project.build(built_url, AS_OF_DATE, select=[TABLE], full_refresh=True)
        other.rollback()
        dbt_project.build(built_url, AS_OF_DATE, select=[TABLE], full_refresh=True)
