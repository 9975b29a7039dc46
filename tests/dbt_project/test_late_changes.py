"""What changes between two runs without anybody doing anything: friendships, categories and settings."""

from __future__ import annotations

from datetime import timedelta

import psycopg

from tests.dbt_project.building import (
    FEATURE_TOPICS,
    TABLES_ONLY,
    WHOLE_TABLES,
    DbtProject,
    also_in_a_full_build,
    rows_of,
)
from tests.dbt_project.random_world import FIRST_DAY, LAST_DATE, TIMES, RandomWorld, draw_world, land, midnight
from tests.dbt_project.world import insert_rows


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
    with psycopg.connect(warehouse_url) as connection:
        newest = connection.execute("select max(landing_id) from audit.landings").fetchone()
        assert newest is not None
        insert_rows(connection, "items", [late_item], newest[0])
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
    with psycopg.connect(warehouse_url) as connection:
        built = connection.execute(
            "select count(distinct as_of_date) from intermediate.int_built_dates where relation_name = 'fct_user_days'"
        ).fetchone()
    assert built == (2,)
