"""Guarantees D3 and D4: daily runs, with rows that come late and in any order, end in the tables of one full build."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import psycopg

from tests.dbt_project.building import TABLES_ONLY, DbtProject, rows_of
from tests.dbt_project.random_world import FIRST_DAY, TIMES, RandomWorld, draw_world
from tests.dbt_project.world import insert_rows

# The week in which the first year of the world is over and settled: what days give way to a year's row.
LAST_DATE = date(2026, 1, 12)
DAILY_RUNS = 7
LATE_DAYS = 6.9

# Rebuilt or redone as a whole: must be equal in every row.
WHOLE_TABLES = (
    "marts.fct_user_days",
    "marts.fct_user_years",
    "marts.fct_user_devices",
    "marts.fct_user_lapses",
    "marts.fct_user_category_months",
    "marts.fct_exposures",
    "features.label_example_return_14d",
    "features.training_examples",
    "marts.fct_user_refund_days",
    "intermediate.int_friendships_mirrored",
)
FEATURE_TOPICS = (
    *("behaviour", "money", "rhythm", "level", "lapses", "devices", "interactions", "items", "social", "contacts"),
    *("profile", "event_types"),
)
# Days before the last one were built as well; compared is what one full build has, too.
KNOWN = f"""(
    as_of_date = '{LAST_DATE}'
    or (user_id, as_of_date) in (
        select user_id, as_of_date from features.training_examples where as_of_date < '{LAST_DATE}'
    )
)"""
# Towards a type of event that was open at an earlier run, examples of other types have rows in daily runs alone.
KNOWN_TYPES = f"""(
    as_of_date = '{LAST_DATE}'
    or (user_id, as_of_date, event_type) in (
        select user_id, as_of_date, event_type from features.training_examples where as_of_date < '{LAST_DATE}'
    )
)"""


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def arrivals(world: RandomWorld, seed: int) -> dict[str, list[datetime]]:
    """When each row lands: mostly at once, every fifth one up to a week late. Users, events and friends are on time."""
    random = np.random.default_rng(seed)
    return {
        table: [
            row[column] + timedelta(days=float(random.uniform(0, LATE_DAYS)))
            if random.random() < 0.2 and table not in ("users", "events", "friendships")
            else row[column]
            for row in world.tables[table]
        ]
        for table, column in TIMES.items()
    }


def parts_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Go through the node of a plan and all below it."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from parts_of(part)


def land(url: str, world: RandomWorld, landed: dict[str, list[datetime]], start: datetime, end: datetime) -> None:
    """Land what arrives in [start, end), in an order of its own, as one landing with its receipt."""
    random = np.random.default_rng(0)
    with psycopg.connect(url) as connection:
        receipt = connection.execute(
            "insert into audit.landings (landing_id, table_name, batch_id, source, received, good, quarantined,"
            " duplicates, released) values (nextval('audit.landing_ids'), 'all', 'batch', '', 0, 0, 0, 0, 0)"
            " returning landing_id"
        ).fetchone()
        assert receipt is not None
        for table in TIMES:
            new = [row for row, at in zip(world.tables[table], landed[table], strict=True) if start <= at < end]
            insert_rows(connection, table, [new[index] for index in random.permutation(len(new))], receipt[0])


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
    compared |= {f"features.feat_user_{topic}": KNOWN for topic in FEATURE_TOPICS}
    compared["features.feat_user_event_types"] = KNOWN_TYPES
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


def test_a_gap_of_weeks_between_two_runs_loses_nothing(warehouse_url: str, dbt_project: DbtProject) -> None:
    world = draw_world(22)
    early = LAST_DATE - timedelta(days=45)
    world.write(warehouse_url, before=midnight(early))
    selected = ["+fct_user_days"]
    dbt_project.build(warehouse_url, early, select=selected, full_refresh=True)
    world.write(warehouse_url, before=midnight(LAST_DATE))
    dbt_project.build(warehouse_url, LAST_DATE, select=selected)
    after_the_gap = rows_of(warehouse_url, "marts.fct_user_days")
    dbt_project.build(warehouse_url, LAST_DATE, select=selected, full_refresh=True)
    assert after_the_gap == rows_of(warehouse_url, "marts.fct_user_days")


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
    compared |= {f"features.feat_user_{topic}": KNOWN for topic in (*FEATURE_TOPICS, "attributes")}
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
