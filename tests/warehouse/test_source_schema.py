"""A source that lies in a Postgres schema lands as the same tables in a folder would."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.warehouse.sources import good_source, snapshot, write_csv
from warehouse.contract import load_contract
from warehouse.door import Warehouse
from warehouse.landing import LandingError, land_folder, land_source
from warehouse.settings import Settings

DAY = date(2018, 1, 2)


def write_schema(url: str, source: dict[str, list[dict[str, str]]], schema: str = "game") -> None:
    """Keep the rows in tables whose columns have the types that a warehouse would give them."""
    contract = load_contract()
    with psycopg.connect(url) as connection:
        connection.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(schema)))
        for name, rows in source.items():
            table = sql.Identifier(schema, name)
            types = {column: contract[name].column(column).postgres_type for column in rows[0]}
            connection.execute(
                sql.SQL("create table {} ({})").format(
                    table,
                    sql.SQL(", ").join(
                        sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(kind)) for column, kind in types.items()
                    ),
                )
            )
            places = sql.SQL(", ").join(sql.Placeholder() for _ in types)
            insert = sql.SQL("insert into {} values ({})").format(table, places)
            with connection.cursor() as cursor:
                # Last first: the order of the heap must not matter.
                cursor.executemany(insert, [[value or None for value in row.values()] for row in reversed(rows)])


@pytest.fixture
def in_schema(settings: Settings) -> Settings:
    """Settings whose source is the schema game of the warehouse."""
    return replace(settings, source="schema:game")


def test_a_schema_lands_like_a_folder(make_warehouse_url, settings: Settings, tmp_path: Path) -> None:
    contents = []
    for source in ("folder", "schema"):
        url = make_warehouse_url()
        chosen = replace(settings, warehouse_url=url, source=str(tmp_path / "folder"))
        if source == "schema":
            write_schema(url, good_source())
            chosen = replace(chosen, source="schema:game")
        else:
            write_csv(tmp_path / "folder", good_source())
        land_source(DAY, chosen)
        contents.append(snapshot(Warehouse(url), with_batches=False))
    assert contents[0] == contents[1]
    assert len(contents[1]["sessions"]) == 100


def test_an_unchanged_schema_changes_nothing_and_a_new_row_is_one(warehouse: Warehouse, in_schema: Settings) -> None:
    write_schema(warehouse.url, good_source())
    first = land_source(DAY, in_schema)
    again = land_source(DAY, in_schema)
    assert first.details["batch_id"] == again.details["batch_id"]
    warehouse.execute(
        "insert into game.sessions (session_id, user_id, started_at, duration_seconds)"
        " values ('new', 'user-0', '2017-12-31 10:00:00+00', 60), ('odd', 'user-0', '2017-12-31 10:00:00+00', -1)"
    )
    later = land_source(DAY, in_schema)
    assert warehouse.scalar("select count(*) from raw.sessions where session_id = 'new'") == 1
    assert later.details["quarantined"] == 1


def test_a_source_on_another_server_is_read_with_the_rights_of_its_reader(
    make_warehouse_url, warehouse: Warehouse, settings: Settings
) -> None:
    elsewhere = make_warehouse_url()
    write_schema(elsewhere, good_source())
    join = "&" if "?" in elsewhere else "?"
    report = land_source(DAY, replace(settings, source=f"{elsewhere}{join}schema=game"))
    assert report.details["sessions"] == warehouse.scalar("select count(*) from raw.sessions") == 100


def test_views_booleans_and_times_without_a_zone_are_read(warehouse: Warehouse, in_schema: Settings) -> None:
    write_schema(warehouse.url, good_source(), "game")
    warehouse.execute("alter table game.users rename to people")
    warehouse.execute(
        "create view game.users as select user_id, registered_at at time zone 'UTC' as registered_at, 'a@b.c' as email"
        " from game.people"
    )
    warehouse.execute(
        "create table game.consents as select 'c' || user_id as consent_id, user_id, 'email' as channel,"
        " 'marketing' as purpose, true as is_granted, timestamp '2017-06-01 12:00' as decided_at from game.people"
    )
    report = land_source(DAY, in_schema)
    assert report.details["quarantined"] == 0
    assert warehouse.scalar("select bool_and(is_granted) from raw.consents")
    assert warehouse.scalar("select min(decided_at) = timestamptz '2017-06-01 12:00:00+00' from raw.consents")
    assert "game.users: unknown columns were ignored (email)." in report.messages
    assert "game.people is no table of the source contract and was ignored." in report.messages


def test_what_cannot_be_a_source_is_said(warehouse: Warehouse, settings: Settings, tmp_path: Path) -> None:
    for source, sentence in (
        ("schema:raw", "Rekindle writes itself"),
        ("schema:nowhere", "There is no table in the schema nowhere"),
        ("postgresql://nobody:secret@127.0.0.1:1/x?schema=game", "the schema game of x on 127.0.0.1 cannot be read"),
    ):
        with pytest.raises(LandingError, match=sentence) as refused:
            land_source(DAY, replace(settings, source=source))
        assert "secret" not in str(refused.value)
    write_schema(warehouse.url, {"users": good_source()["users"]})
    with pytest.raises(LandingError, match="no sessions"):
        land_source(DAY, replace(settings, source="schema:game"))
    assert land_folder(write_csv(tmp_path / "one", good_source()), settings).tables
