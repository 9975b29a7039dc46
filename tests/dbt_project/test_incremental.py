"""Guarantees D3 and D4: daily runs, with rows that come late and in any order, end in the tables of one full build."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import psycopg

from tests.dbt_project.building import (
    FEATURE_TOPICS,
    TABLES_ONLY,
    WHOLE_TABLES,
    DbtProject,
    also_in_a_full_build,
    rows_of,
)
from tests.dbt_project.random_world import (
    FIRST_DAY,
    LAST_DATE,
    TIMES,
    RandomWorld,
    arrivals,
    draw_world,
    land,
    midnight,
)

DAILY_RUNS = 7


def indexes_of_changed_days(warehouse_url: str) -> int:
    """Count the indexes of fct_user_days that know the days a later run than the first changed."""
    with psycopg.connect(warehouse_url) as connection:
        found = connection.execute(
            "select indexdef from pg_indexes where schemaname = 'marts' and tablename = 'fct_user_days'"
        ).fetchall()
    return sum(definition.endswith("(change_number) WHERE (change_number > 1)") for (definition,) in found)


def daily_runs(warehouse_url: str, dbt_project: DbtProject, world: RandomWorld, seed: int) -> Iterator[date]:
    """Build history at once, then day by day what each one brings, and rows of the week before; yields built days."""
    landed = arrivals(world, seed)
    first_date = LAST_DATE - timedelta(days=DAILY_RUNS)
    RandomWorld(tables={table: [] for table in TIMES}, items=world.items).write(warehouse_url)
    land(warehouse_url, world, landed, FIRST_DAY, midnight(first_date))
    dbt_project.build(warehouse_url, first_date, full_refresh=True)
    for number in range(1, DAILY_RUNS + 1):
        day = first_date + timedelta(days=number)
        land(warehouse_url, world, landed, midnight(day - timedelta(days=1)), midnight(day))
        dbt_project.build(warehouse_url, day, select=TABLES_ONLY)
        yield day


def test_seven_daily_runs_equal_one_full_build(warehouse_url: str, dbt_project: DbtProject) -> None:
    days = list(daily_runs(warehouse_url, dbt_project, draw_world(21), 21))
    assert days[-1] == LAST_DATE

    compared = dict.fromkeys(WHOLE_TABLES, "true")
    compared |= {f"features.feat_user_{topic}": also_in_a_full_build(LAST_DATE) for topic in FEATURE_TOPICS}
    compared["features.feat_user_event_types"] = also_in_a_full_build(LAST_DATE, "user_id, as_of_date, event_type")
    compared["features.eligible_user_channels"] = f"as_of_date = '{LAST_DATE}'"
    daily = {table: rows_of(warehouse_url, table, condition) for table, condition in compared.items()}

    assert indexes_of_changed_days(warehouse_url) == 1, "made once, whatever the number of runs"

    dbt_project.build(warehouse_url, LAST_DATE, full_refresh=True)
    full = {table: rows_of(warehouse_url, table, condition) for table, condition in compared.items()}

    assert [table for table in compared if not full[table]] == []
    assert [table for table in compared if daily[table] != full[table]] == []
    assert indexes_of_changed_days(warehouse_url) == 1, "a new table has one too, while the old one still exists"


def test_changes_are_not_missed_after_days_of_users_alone_were_built_anew(
    warehouse_url: str, dbt_project: DbtProject
) -> None:
    """A change has a number above all that readers have seen, also where the table that counts them began again."""
    for number, day in enumerate(daily_runs(warehouse_url, dbt_project, draw_world(22), 22), start=1):
        if number == 4:
            anew = ("fct_user_days", "config.materialized:view")
            dbt_project.build(warehouse_url, day, select=anew, full_refresh=True)

    daily = {table: rows_of(warehouse_url, table) for table in WHOLE_TABLES}
    dbt_project.build(warehouse_url, LAST_DATE, full_refresh=True)
    assert [table for table in WHOLE_TABLES if daily[table] != rows_of(warehouse_url, table)] == []
