"""How Postgres goes about the days of users, as its own plans tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg

from tests.dbt_project.building import DbtProject
from tests.dbt_project.random_world import FIRST_DAY, LAST_DATE, TIMES, RandomWorld, draw_world, land, midnight


def parts_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Go through the node of a plan and all below it."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from parts_of(part)


def test_a_day_is_not_planned_as_no_rows_because_statistics_are_older(
    warehouse_url: str, dbt_project: DbtProject
) -> None:
    """Who expects none joins the users of a day with its rows pair by pair: of 27,000 each that takes 30 seconds."""
    world, before = draw_world(23), LAST_DATE - timedelta(days=6)
    landed = {table: [row[column] for row in world.tables[table]] for table, column in TIMES.items()}
    RandomWorld(tables={table: [] for table in TIMES}, items=world.items).write(warehouse_url)
    land(warehouse_url, world, landed, FIRST_DAY, midnight(before))
    dbt_project.build(warehouse_url, before, select=["+fct_user_days"], full_refresh=True)
    with psycopg.connect(warehouse_url) as connection:
        connection.execute("analyze")
    land(warehouse_url, world, landed, midnight(before), midnight(LAST_DATE))
    dbt_project.build(warehouse_url, LAST_DATE, command="compile", select=["fct_user_days"])
    compiled = dbt_project.target_folder / "compiled" / "rekindle" / "models" / "marts" / "fct_user_days.sql"
    with psycopg.connect(warehouse_url) as connection:
        (plan,) = connection.execute(f"explain (format json) {compiled.read_text()}").fetchone() or ()
    expected = {part.get("Subplan Name"): part["Plan Rows"] for part in plan[0]["Plan"]["Plans"]}
    assert expected["CTE new_days"] > len(TIMES), expected


def test_helpers_join_and_sort_the_days_of_a_full_build(warehouse_url: str, dbt_project: DbtProject) -> None:
    """Rows that are gathered before they are joined are joined and sorted by one process: three fourths of the work."""
    draw_world(23).write(warehouse_url)
    selected = ["+fct_user_days"]
    dbt_project.build(warehouse_url, LAST_DATE, select=selected, full_refresh=True)
    dbt_project.build(warehouse_url, LAST_DATE, command="compile", select=["fct_user_days"], full_refresh=True)
    compiled = dbt_project.target_folder / "compiled" / "rekindle" / "models" / "marts" / "fct_user_days.sql"
    macros = dbt_project.read(warehouse_url).macros
    with psycopg.connect(warehouse_url) as connection:
        connection.execute("analyze")
        for name in ("settings_of_a_large_sort", "settings_of_a_full_sort"):
            for setting in re.findall(r"set local [^;]+", macros[f"macro.rekindle.postgres__{name}"].macro_sql):
                connection.execute(setting)
        # A small world is planned as a large one, and by a server of whatever settings.
        connection.execute("set local min_parallel_table_scan_size = 0")
        connection.execute("set local max_parallel_workers_per_gather = 2")
        (plan,) = connection.execute(f"explain (format json) {compiled.read_text()}").fetchone() or ()
    gathered = [part for part in parts_of(plan[0]["Plan"]) if part["Node Type"] == "Gather Merge"]
    assert any(below["Node Type"] == "Hash Join" for part in gathered for below in parts_of(part)), plan
