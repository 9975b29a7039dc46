"""What DATA and AS_OF mean, and the sentences a person gets when they mean nothing."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import psycopg
import pytest

from local.errors import LocalError
from local.installation import warehouse_database
from local.source import describe_source, find_as_of_date, find_source

TODAY = datetime.now(tz=UTC).date()


def write_sessions(folder: Path, *started_at: str, name: str = "sessions.csv") -> Path:
    folder.mkdir(exist_ok=True)
    lines = "".join(f"s{number},u1,{moment},60\n" for number, moment in enumerate(started_at))
    csv = folder / "sessions.csv"
    csv.write_text(f"session_id,user_id,started_at,duration_seconds\n{lines}", encoding="utf-8")
    if name.endswith(".parquet"):
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'")
            connection.execute(
                "copy (select session_id, user_id, cast(started_at as timestamptz) as started_at from read_csv(?))"
                f" to '{folder / name}' (format parquet)",
                [str(csv)],
            )
        csv.unlink()
    return folder


def test_without_data_it_is_the_default_sample() -> None:
    assert find_source("", []) == "complete_journey"
    assert find_as_of_date("", "complete_journey") == date(2018, 1, 2)


def test_a_relative_folder_is_meant_from_where_the_person_stands(tmp_path: Path) -> None:
    for place in ("here", "project"):
        (tmp_path / place / "mine").mkdir(parents=True)
    found = find_source("mine", [tmp_path / "here", tmp_path / "project"])
    assert found == str(tmp_path / "here" / "mine")
    assert find_source("./mine", [tmp_path / "elsewhere", tmp_path / "project"]) == str(tmp_path / "project" / "mine")


def test_what_is_neither_folder_nor_sample_names_the_samples(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"DATA=nothing is neither.*complete_journey"):
        find_source("nothing", [tmp_path])


@pytest.mark.parametrize("wrong", ["yesterday", "2018-13-01", "2018-1-2", "02.01.2018"])
def test_a_wrong_date_is_said(wrong: str) -> None:
    with pytest.raises(LocalError, match=f"AS_OF={wrong} is no date"):
        find_as_of_date(wrong, "complete_journey")


def test_a_date_in_the_future_is_refused() -> None:
    with pytest.raises(LocalError, match="future"):
        find_as_of_date((TODAY + timedelta(days=1)).isoformat(), "complete_journey")


@pytest.mark.parametrize("name", ["sessions.csv", "sessions.parquet"])
def test_a_folder_is_run_for_the_day_after_its_last_session(tmp_path: Path, name: str) -> None:
    folder = write_sessions(tmp_path / "data", "2024-03-01 10:00:00+00", "2024-03-05 23:59:59+00", name=name)
    assert find_as_of_date("", str(folder)) == date(2024, 3, 6)


def test_offsets_count_and_nonsense_does_not(tmp_path: Path) -> None:
    folder = write_sessions(tmp_path / "data", "2024-03-05T23:30:00-05:00", "not a date", "2262-01-01T00:00:00Z")
    assert find_as_of_date("", str(folder)) == date(2024, 3, 7)


def test_the_default_is_never_later_than_today(tmp_path: Path) -> None:
    folder = write_sessions(tmp_path / "data", f"{TODAY}T00:00:01Z")
    assert find_as_of_date("", str(folder)) == TODAY


def test_a_folder_without_sessions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"sessions\.parquet"):
        find_as_of_date("", str(tmp_path))
    with pytest.raises(LocalError, match="AS_OF"):
        find_as_of_date("", str(write_sessions(tmp_path / "data", "not a date")))


def test_two_sources_never_share_a_warehouse() -> None:
    names = [
        warehouse_database(source) for source in ("complete_journey", "game_world", "/a/data", "/b/data", "/b/Ä ö")
    ]
    assert names[0] == "warehouse"
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() and name.isascii() and len(name) < 63 for name in names)


def test_a_schema_needs_to_be_somewhere() -> None:
    assert find_source("schema:game", [], "postgresql://owner@host/shop") == "schema:game"
    assert find_source("postgresql://reader@host/shop?schema=game", []) == "postgresql://reader@host/shop?schema=game"
    with pytest.raises(LocalError, match="set WAREHOUSE_URL"):
        find_source("schema:game", [])
    with pytest.raises(LocalError, match="names no schema"):
        find_source("postgresql://reader@host/shop", [])


def test_the_password_of_a_source_is_never_shown() -> None:
    shown = describe_source("postgresql://reader:secret@host/shop?schema=game&sslmode=require")
    assert shown == "the schema game of shop on host"


def test_the_last_session_of_a_schema_counts(warehouse_url: str) -> None:
    with psycopg.connect(warehouse_url) as connection:
        connection.execute("create schema game")
        connection.execute("create table game.sessions (started_at timestamptz)")
        connection.execute("insert into game.sessions values ('2024-03-05 23:59:00+00'), ('2999-01-01 00:00:00+00')")
    assert find_as_of_date("", "schema:game", warehouse_url) == date(2024, 3, 6)
    with pytest.raises(LocalError, match="cannot be read"):
        find_as_of_date("", "schema:elsewhere", warehouse_url)
