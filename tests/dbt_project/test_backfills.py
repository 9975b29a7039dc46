"""Dates that are passed over, built late, again or in a row: each keeps the rows that a full build gives it."""

from __future__ import annotations

from datetime import timedelta

from tests.dbt_project.building import FEATURE_TOPICS, TABLES_ONLY, DbtProject, rows_of
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


def test_gaps_backfills_and_reruns_end_in_what_full_builds_say(warehouse_url: str, dbt_project: DbtProject) -> None:
    """A version may begin, end or be cut at any date: whatever the order of runs, each date keeps its own rows."""
    world = draw_world(23)
    landed = arrivals(world, 23)
    first_date = LAST_DATE - timedelta(days=4)
    days = [first_date + timedelta(days=number) for number in range(5)]
    RandomWorld(tables={table: [] for table in TIMES}, items=world.items).write(warehouse_url)
    land(warehouse_url, world, landed, FIRST_DAY, midnight(first_date))
    dbt_project.build(warehouse_url, first_date, full_refresh=True)
    # The third day is passed over and built after the fifth; of the fourth there are late rows when it is built again.
    known_until = first_date
    for day in (days[1], days[3], days[4], days[2], days[3]):
        if day > known_until:
            land(warehouse_url, world, landed, midnight(known_until), midnight(day))
            known_until = day
        dbt_project.build(warehouse_url, day, select=TABLES_ONLY)

    relations = [*(f"features.feat_user_{topic}" for topic in FEATURE_TOPICS), "features.eligible_user_channels"]
    built = {
        (day, relation): rows_of(warehouse_url, relation, f"as_of_date = '{day}'")
        for day in days[2:]
        for relation in relations
    }
    for day in days[2:]:
        dbt_project.build(warehouse_url, day, full_refresh=True)
        full = {relation: rows_of(warehouse_url, relation, f"as_of_date = '{day}'") for relation in relations}
        assert [relation for relation in relations if built[day, relation] != full[relation]] == [], day


def test_a_gap_of_weeks_loses_nothing_where_clocks_are_ahead(warehouse_url: str, dbt_project: DbtProject) -> None:
    """A row that lands weeks before it happened says nothing of the days between."""
    world, early = draw_world(22), LAST_DATE - timedelta(days=45)
    landed = arrivals(world, 22)
    # Who is not known yet is kept in quarantine.
    known = {user["user_id"] for user in world.tables["users"] if user["registered_at"] < midnight(early)}
    for table in ("sessions", "payments", "interactions", "friendships"):
        landed[table] = [
            FIRST_DAY
            if row["user_id"] in known and row[TIMES[table]] >= midnight(LAST_DATE - timedelta(days=4))
            else at
            for row, at in zip(world.tables[table], landed[table], strict=True)
        ]
    tables = [
        "intermediate.int_friendships_mirrored",
        *(f"marts.fct_user_{name}" for name in ("days", "refund_days", "category_months", "lapses", "devices")),
    ]
    selected = [f"+{table.split('.')[1]}" for table in tables]
    RandomWorld(tables={table: [] for table in TIMES}, items=world.items).write(warehouse_url)
    land(warehouse_url, world, landed, FIRST_DAY, midnight(early))
    dbt_project.build(warehouse_url, early, select=selected, full_refresh=True)
    land(warehouse_url, world, landed, midnight(early), midnight(LAST_DATE))
    dbt_project.build(warehouse_url, LAST_DATE, select=selected)
    after_the_gap = {table: rows_of(warehouse_url, table) for table in tables}
    dbt_project.build(warehouse_url, LAST_DATE, select=selected, full_refresh=True)
    assert [table for table in tables if rows_of(warehouse_url, table) != after_the_gap[table]] == []


def test_a_gap_of_weeks_loses_nothing_of_what_nobody_had_done_before(
    warehouse_url: str, dbt_project: DbtProject
) -> None:
    """A table without any row does not tell how far it was built: the first refund, the first friends."""
    world, early = draw_world(22), LAST_DATE - timedelta(days=45)
    firsts = {
        "friendships": [row for row in world.tables["friendships"] if row["since"] >= midnight(early)],
        "payments": [row for row in world.tables["payments"] if row["paid_at"] >= midnight(early)],
    }
    world = RandomWorld(tables=world.tables | firsts, items=world.items)
    world.write(warehouse_url, before=midnight(early))
    tables = ("intermediate.int_friendships_mirrored", "marts.fct_user_refund_days")
    selected = [f"+{table.split('.')[1]}" for table in tables]
    dbt_project.build(warehouse_url, early, select=selected, full_refresh=True)
    assert [rows_of(warehouse_url, table) for table in tables] == [[], []]
    world.write(warehouse_url, before=midnight(LAST_DATE))
    dbt_project.build(warehouse_url, LAST_DATE, select=selected)
    after_the_gap = [rows_of(warehouse_url, table) for table in tables]
    dbt_project.build(warehouse_url, LAST_DATE, select=selected, full_refresh=True)
    assert after_the_gap == [rows_of(warehouse_url, table) for table in tables]


def test_dates_built_one_after_the_other_of_what_landed_before_all_of_them(
    warehouse_url: str, dbt_project: DbtProject
) -> None:
    """A backfill: nothing lands between its runs, and yet each date knows what happened the day before."""
    world = draw_world(24)
    days = [LAST_DATE - timedelta(days=number) for number in (3, 2, 1, 0)]
    RandomWorld(tables={table: [] for table in TIMES}, items=world.items).write(warehouse_url)
    at_once = {table: [midnight(days[0])] * len(rows) for table, rows in world.tables.items()}
    land(warehouse_url, world, at_once, midnight(days[0]), midnight(LAST_DATE))
    dbt_project.build(warehouse_url, days[0], full_refresh=True)
    for day in days[1:]:
        dbt_project.build(warehouse_url, day, select=TABLES_ONLY)

    relations = [*(f"features.feat_user_{topic}" for topic in FEATURE_TOPICS), "features.eligible_user_channels"]
    compared = f"as_of_date = '{LAST_DATE}'"
    built = {relation: rows_of(warehouse_url, relation, compared) for relation in relations}
    dbt_project.build(warehouse_url, LAST_DATE, full_refresh=True)
    full = {relation: rows_of(warehouse_url, relation, compared) for relation in relations}
    assert [relation for relation in relations if built[relation] != full[relation]] == []
