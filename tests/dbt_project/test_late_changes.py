"""What changes between two runs without anybody doing anything: friendships, categories and settings."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg

from local.chain import run_dbt
from tests.dbt_project.building import (
    FEATURE_TOPICS,
    TABLES_ONLY,
    WHOLE_TABLES,
    DbtProject,
    also_in_a_full_build,
    rows_of,
)
from tests.dbt_project.random_world import FIRST_DAY, LAST_DATE, TIMES, RandomWorld, draw_world, land, midnight
from tests.dbt_project.world import Row, insert_rows
from warehouse.settings import load_settings


def test_friendships_and_items_that_land_late_are_taken_up(warehouse_url: str, dbt_project: DbtProject) -> None:
    """Nobody did anything new: what is told of friends and of categories changes all the same."""
    world = draw_world(25)
    before, late_from = LAST_DATE - timedelta(days=1), midnight(LAST_DATE - timedelta(days=5))
    late_item = {"item_id": "item-late", "item_kind": "thing", "title": "thing", "category": "category-late"}
    for row in world.tables["interactions"]:
        if late_from <= row["occurred_at"] < midnight(before):
            row["item_id"] = late_item["item_id"]
    on_time = {table: [row[column] for row in world.tables[table]] for table, column in TIMES.items()}
    landed = on_time | {
        "friendships": [max(at, midnight(before)) if at >= late_from else at for at in on_time["friendships"]]
    }
    assert landed != on_time
    RandomWorld(tables={table: [] for table in TIMES}, items=world.items).write(warehouse_url)
    land(warehouse_url, world, landed, FIRST_DAY, midnight(before))
    dbt_project.build(warehouse_url, before, full_refresh=True)
    quiet = RandomWorld(tables=world.tables | {table: [] for table in TIMES if table != "friendships"})
    land(
        warehouse_url,
        quiet,
        {table: landed[table] if table == "friendships" else [] for table in TIMES},
        midnight(before),
        midnight(LAST_DATE),
    )
    land_items(warehouse_url, [late_item])
    dbt_project.build(warehouse_url, LAST_DATE, select=TABLES_ONLY)

    relations = [f"features.feat_user_{topic}" for topic in FEATURE_TOPICS]
    built = {relation: rows_of(warehouse_url, relation, f"as_of_date = '{LAST_DATE}'") for relation in relations}
    assert any("category-late" in row for row in rows_of(warehouse_url, "marts.fct_user_category_months"))
    dbt_project.build(warehouse_url, LAST_DATE, full_refresh=True)
    full = {relation: rows_of(warehouse_url, relation, f"as_of_date = '{LAST_DATE}'") for relation in relations}
    assert [relation for relation in relations if built[relation] != full[relation]] == []


def test_settings_that_change_between_two_runs_hold_for_all_that_was_built(
    warehouse_url: str, dbt_project: DbtProject
) -> None:
    """Whoever is inactive after fewer days has other lapses and other labels, also of the days built before."""
    world = draw_world(26)
    before = LAST_DATE - timedelta(days=1)
    landed = {table: [row[column] for row in world.tables[table]] for table, column in TIMES.items()}
    RandomWorld(tables={table: [] for table in TIMES}, items=world.items).write(warehouse_url)
    land(warehouse_url, world, landed, FIRST_DAY, midnight(before))
    dbt_project.build(warehouse_url, before)
    land(warehouse_url, world, landed, midnight(before), midnight(LAST_DATE))
    changed = {"inactive_after_days": 12, "return_window_days": 9, "user_attributes": ("Shop no-1",)}
    dbt_project.build(warehouse_url, LAST_DATE, **changed)

    compared = dict.fromkeys(WHOLE_TABLES, "true")
    compared |= {
        f"features.feat_user_{topic}": also_in_a_full_build(LAST_DATE) for topic in (*FEATURE_TOPICS, "attributes")
    }
    daily = {table: rows_of(warehouse_url, table, condition) for table, condition in compared.items()}
    dbt_project.build(warehouse_url, LAST_DATE, full_refresh=True, **changed)
    full = {table: rows_of(warehouse_url, table, condition) for table, condition in compared.items()}
    assert [table for table in compared if daily[table] != full[table]] == []

    # A day after a build with the same settings is a day again, and nothing is built anew.
    dbt_project.build(warehouse_url, LAST_DATE + timedelta(days=1), select=TABLES_ONLY, **changed)
    assert built_dates(warehouse_url) == [LAST_DATE, LAST_DATE + timedelta(days=1)]


def test_history_that_lands_later_has_all_built_anew(warehouse_url: str, dbt_project: DbtProject) -> None:
    """Files of past months are loaded after the first run, and tables that the source did not have before."""
    world = draw_world(27)
    before, recent = LAST_DATE - timedelta(days=1), midnight(LAST_DATE - timedelta(days=60))
    on_time = {table: [row[column] for row in world.tables[table]] for table, column in TIMES.items()}
    landed = on_time | {
        **{
            table: [max(at, midnight(before)) for at in on_time[table]]
            for table in ("exposures", "responses", "friendships")
        },
        **{
            table: [midnight(before) if at < recent else at for at in on_time[table]]
            for table in ("sessions", "payments", "interactions", "consents")
        },
    }
    RandomWorld(tables={table: [] for table in TIMES}).write(warehouse_url)
    land(warehouse_url, world, landed, FIRST_DAY, midnight(before))
    dbt_project.build(warehouse_url, before)
    assert rows_of(warehouse_url, "marts.fct_exposures") == []
    land(warehouse_url, world, landed, midnight(before), midnight(LAST_DATE))
    land_items(warehouse_url, world.items)
    for layers in (["path:models/intermediate", "path:models/marts"], ["path:models/features"]):
        dbt_project.build(warehouse_url, LAST_DATE, select=layers)
    compared = (*WHOLE_TABLES, *(f"features.feat_user_{topic}" for topic in FEATURE_TOPICS))
    daily = {table: rows_of(warehouse_url, table) for table in compared}
    dbt_project.build(warehouse_url, LAST_DATE, full_refresh=True)
    assert [table for table in compared if rows_of(warehouse_url, table) != daily[table]] == []


def test_a_few_rows_of_history_are_told_of_and_a_run_is_a_day(
    warehouse_url: str, dbt_project: DbtProject, tmp_path: Path
) -> None:
    """Each day some device comes back that was offline for weeks: nothing is built anew for it, but it is told."""
    world = draw_world(28)
    day = timedelta(days=1)
    landed = {table: [row[column] for row in world.tables[table]] for table, column in TIMES.items()}
    early = next(number for number, at in enumerate(landed["sessions"]) if at < midnight(LAST_DATE - 40 * day))
    long_ago = {"session_id": "1970", "started_at": datetime(1970, 1, 1, tzinfo=UTC)}
    wrong_clock = world.tables["sessions"][early] | long_ago
    world.tables["sessions"].append(wrong_clock)
    landed["sessions"][early] = midnight(LAST_DATE)
    landed["sessions"].append(midnight(LAST_DATE))
    RandomWorld(tables={table: [] for table in TIMES}, items=world.items).write(warehouse_url)
    land(warehouse_url, world, landed, FIRST_DAY, midnight(LAST_DATE))
    selected = ["+fct_user_days"]
    dbt_project.build(warehouse_url, LAST_DATE, select=selected)
    land(warehouse_url, world, landed, midnight(LAST_DATE), midnight(LAST_DATE + day))
    settings = replace(load_settings(), warehouse_url=warehouse_url, state_folder=tmp_path)
    told = run_dbt(["run", "--select", *selected], settings, LAST_DATE + day)
    assert "Rows that came too late are not counted (1 sessions)" in " ".join(told.split())
    assert built_dates(warehouse_url) == [LAST_DATE, LAST_DATE + day]
    health = "rpt_system_health"
    dbt_project.build(warehouse_url, LAST_DATE + day, select=[health])
    assert rows_left_out(warehouse_url) == ("warning", 1, LAST_DATE + day)
    dbt_project.build(warehouse_url, LAST_DATE + day, select=[*selected, health], full_refresh=True)
    assert rows_left_out(warehouse_url) == ("ok", 0, LAST_DATE + day)
    land(warehouse_url, world, landed, midnight(LAST_DATE + day), midnight(LAST_DATE + 2 * day))
    dbt_project.build(warehouse_url, LAST_DATE + 2 * day, select=[*selected, health])
    assert built_dates(warehouse_url) == [LAST_DATE + day, LAST_DATE + 2 * day]
    assert rows_left_out(warehouse_url) == ("ok", 0, LAST_DATE + 2 * day)


def test_items_alone_can_be_history(warehouse_url: str, dbt_project: DbtProject) -> None:
    """What was looked at for months is told of later: categories of all months change, and nothing else landed."""
    world = draw_world(29)
    landed = {table: [row[column] for row in world.tables[table]] for table, column in TIMES.items()}
    RandomWorld(tables={table: [] for table in TIMES}, items=world.items[:15]).write(warehouse_url)
    land(warehouse_url, world, landed, FIRST_DAY, midnight(LAST_DATE))
    selected, months = ["+fct_user_days", "+fct_user_category_months"], "marts.fct_user_category_months"
    dbt_project.build(warehouse_url, LAST_DATE, select=selected)
    nothing = RandomWorld(tables={table: [] for table in TIMES})
    land(warehouse_url, nothing, {table: [] for table in TIMES}, midnight(LAST_DATE), midnight(LAST_DATE))
    land_items(warehouse_url, world.items[15:])
    dbt_project.build(warehouse_url, LAST_DATE + timedelta(days=1), select=selected)
    daily = rows_of(warehouse_url, months)
    dbt_project.build(warehouse_url, LAST_DATE + timedelta(days=1), select=selected, full_refresh=True)
    assert daily == rows_of(warehouse_url, months)


def land_items(url: str, items: list[Row]) -> None:
    """Let items be part of the newest landing."""
    with psycopg.connect(url) as connection:
        newest = connection.execute("select max(landing_id) from audit.landings").fetchone()
        assert newest is not None
        insert_rows(connection, "items", items, newest[0])


def rows_left_out(url: str) -> tuple[str, float, date] | None:
    """What `reporting.system_health` says, for which date, of rows that came too late."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "select status, value, as_of_date from reporting.system_health where \"check\" = 'rows that came too late'"
        ).fetchone()


def built_dates(url: str) -> list[date]:
    """Dates that days of users were built for since they were last built anew."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "select as_of_date from intermediate.int_built_dates where relation_name = 'fct_user_days' order by 1"
        ).fetchall()
    return [day for (day,) in found]
