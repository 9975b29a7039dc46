"""Guarantee D6: what is known as of D does not change when everything at or after D is deleted or altered."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import psycopg
import pytest

from local.postgres import EmbeddedPostgres
from tests.dbt_project.building import ALL_BUT_STAGING, PROJECT, DbtProject, relations_of, rows_of
from tests.dbt_project.random_world import DAYS, FIRST_DAY, TIMES, RandomWorld, draw_world

SEEDS = (11, 12)


@pytest.fixture(scope="module")
def dbt_project(tmp_path_factory: pytest.TempPathFactory) -> DbtProject:
    return DbtProject(tmp_path_factory.mktemp("dbt"))


@pytest.fixture(scope="module")
def one_warehouse_url(postgres: EmbeddedPostgres, warehouse_template: str) -> Iterator[str]:
    """One database for all stories: dbt reads the project once a database, and every build here is a full one."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"create database no_leakage template {warehouse_template}")
    yield postgres.url("no_leakage")
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("drop database no_leakage with (force)")


def random_date(seed: int) -> date:
    """A date in the second half of the world, where there is something to leak from and into."""
    return (FIRST_DAY + timedelta(days=int(np.random.default_rng(seed).integers(90, DAYS - 10)))).date()


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def corrupted(world: RandomWorld, cut: datetime, seed: int) -> RandomWorld:
    """The same past, and another future: rows gone, rows moved to others and to other times, amounts multiplied."""
    random = np.random.default_rng(seed)
    tables: dict[str, list[dict[str, object]]] = {}
    past_users = [row["user_id"] for row in world.tables["users"] if row["registered_at"] < cut]
    past_events = [row["event_id"] for row in world.tables["events"] if row["starts_at"] < cut]
    for table, column in TIMES.items():
        tables[table] = [row for row in world.tables[table] if row[column] < cut]
        if table in ("users", "events", "friendships"):
            continue
        for row in world.tables[table]:
            if row[column] < cut or random.random() < 0.5:
                continue
            # At the very moment of the cut, too: nothing of D itself is known.
            moved = cut if random.random() < 0.2 else cut + timedelta(days=float(random.uniform(0, 30)))
            altered = {**row, column: moved, "user_id": str(random.choice(past_users))}
            if "event_id" in altered:
                altered["event_id"] = str(random.choice(past_events))
            if "amount" in altered:
                altered["amount"] = 1000 * float(str(altered["amount"]))
            if "is_granted" in altered:
                altered["is_granted"] = not altered["is_granted"]
            tables[table].append(altered)
    return RandomWorld(tables=tables, items=world.items)


def known_rows(url: str, as_of_date: date) -> dict[str, list[str]]:
    """Everything a model may read as of the date: features, what is open, and labels whose windows have closed."""
    found = {}
    for relation in relations_of(url, ["features"]):
        name = relation.removeprefix("features.")
        if name.startswith("feat_user_"):
            # Features of the date, and of the past moments of which the label is known.
            found[name] = rows_of(
                url,
                relation,
                f"as_of_date = '{as_of_date}' or (user_id, as_of_date) in (select user_id, as_of_date"
                f" from features.training_examples where return_known_at <= '{as_of_date} 00:00+00')",
            )
        elif name in ("open_events", "eligible_user_channels", "exposed_pairs"):
            found[name] = rows_of(url, relation)
    with psycopg.connect(url) as connection:
        connection.execute("set time zone 'UTC'")
        labels = connection.execute(
            """
            select example_id, user_id, event_id, arm, as_of_date, is_inactive, has_responded, has_returned,
                returned_at,
                case when conversion_known_at <= %(cut)s then (has_converted, revenue_amount) end,
                case when revenue_90d_known_at <= %(cut)s then revenue_amount_90d end
            from features.training_examples where return_known_at <= %(cut)s order by example_id
            """,
            {"cut": midnight(as_of_date)},
        ).fetchall()
    found["labels"] = [str(row) for row in labels]
    return found


def differences(left: dict[str, list[str]], right: dict[str, list[str]]) -> list[str]:
    return [name for name in left if left[name] != right[name]]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_future_changes_nothing(seed: int, one_warehouse_url: str, dbt_project: DbtProject) -> None:
    world, as_of_date = draw_world(seed), random_date(seed)
    built = {}
    for story in ("whole", "deleted", "corrupted"):
        if story == "deleted":
            world.write(one_warehouse_url, before=midnight(as_of_date))
        else:
            (world if story == "whole" else corrupted(world, midnight(as_of_date), seed)).write(one_warehouse_url)
        dbt_project.build(one_warehouse_url, as_of_date, select=ALL_BUT_STAGING if built else (), full_refresh=True)
        built[story] = known_rows(one_warehouse_url, as_of_date)
    assert len(built["whole"]["labels"]) > 100
    assert len(built["whole"]["feat_user_behaviour"]) > 100
    assert differences(built["whole"], built["deleted"]) == []
    assert differences(built["whole"], built["corrupted"]) == []


def test_one_inclusive_window_is_seen(one_warehouse_url: str, tmp_path: Path) -> None:
    """The test above is worth something only if it goes red: here two comparisons are made inclusive."""
    project = tmp_path / "dbt_project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    for file, right, wrong in (
        ("macros/user_sums.sql", "activity_date < due.as_of_date", "activity_date <= due.as_of_date"),
        (
            "models/features/decisions/user_channels_versions.sql",
            "decided_at < {{ as_of_at() }}",
            "decided_at <= {{ as_of_at() }}",
        ),
    ):
        sql = project / file
        text = sql.read_text()
        assert right in text
        sql.write_text(text.replace(right, wrong))
    leaking = DbtProject(tmp_path / "target", project)
    world, as_of_date = draw_world(SEEDS[0]), random_date(SEEDS[0])
    built = []
    for story in (world, corrupted(world, midnight(as_of_date), SEEDS[0])):
        story.write(one_warehouse_url)
        leaking.build(
            one_warehouse_url,
            as_of_date,
            select=["+feat_user_behaviour", "+eligible_user_channels"],
            full_refresh=True,
        )
        built.append(known_rows(one_warehouse_url, as_of_date))
    assert differences(built[0], built[1]) == ["eligible_user_channels", "feat_user_behaviour"]
