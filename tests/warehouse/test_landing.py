"""Landing: whole sources, twice, shuffled, grown, and sources that are refused as a whole."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path

import psycopg
import pytest

from tests.warehouse.sources import (
    assert_accounted,
    good_payments,
    good_sessions,
    good_source,
    good_users,
    snapshot,
    table_of,
    write_csv,
    write_parquet,
)
from warehouse.door import Warehouse
from warehouse.landing import LandingError, land_folder, land_source
from warehouse.settings import Settings


def test_csv_and_parquet_give_the_same_raw_tables(make_warehouse_url, settings: Settings, tmp_path: Path) -> None:
    contents = []
    for write in (write_csv, write_parquet):
        warehouse = Warehouse(make_warehouse_url())
        folder = write(tmp_path / write.__name__, good_source())
        report = land_folder(folder, replace(settings, warehouse_url=warehouse.url))
        assert [table.quarantined for table in report.tables] == [0, 0, 0, 0]
        assert_accounted(report, warehouse)
        contents.append(snapshot(warehouse, with_batches=False))
    assert contents[0] == contents[1]
    assert len(contents[0]["sessions"]) == 100


def test_a_landing_leaves_the_keys_and_indexes_that_migrations_made(
    warehouse: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    def indexes() -> list[str]:
        with warehouse.connect() as connection:
            found = connection.execute("select indexdef from pg_indexes where schemaname = 'raw' order by 1").fetchall()
        return [definition for (definition,) in found]

    before = indexes()
    assert "CREATE INDEX users_registered_at ON raw.users USING btree (registered_at)" in before
    land_folder(write_csv(tmp_path / "source", good_source()), settings)
    assert indexes() == before


def test_landing_twice_changes_nothing(warehouse: Warehouse, settings: Settings, tmp_path: Path) -> None:
    source = good_source()
    source["sessions"][3]["started_at"] = "yesterday"
    source["sessions"].append(source["sessions"][0])
    folder = write_csv(tmp_path / "source", source)
    first = land_folder(folder, settings)
    assert table_of(first, "sessions").quarantined == 1
    assert table_of(first, "sessions").duplicates == 1
    before = snapshot(warehouse)
    second = land_folder(folder, settings)
    assert snapshot(warehouse) == before
    assert sorted(second.tables, key=str) == sorted(first.tables, key=str)


def test_landing_the_same_rows_in_other_files_adds_nothing(
    warehouse: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    source = good_source()
    source["payments"][3]["amount"] = "0"
    land_folder(write_csv(tmp_path / "one", source), settings)
    before = snapshot(warehouse)
    (tmp_path / "one" / "users.csv").write_bytes((tmp_path / "one" / "users.csv").read_bytes() + b"\n\n")
    report = land_folder(tmp_path / "one", settings)
    assert [(table.good, table.quarantined) for table in report.tables] == [(0, 0)] * 4
    after = snapshot(warehouse)
    del before["audit.landings"], after["audit.landings"]
    assert after == before


def test_order_of_rows_does_not_matter(make_warehouse_url, settings: Settings, tmp_path: Path) -> None:
    contents = []
    for seed in range(3):
        source = good_source()
        for rows in source.values():
            rows += rows[:3]
            random.Random(seed).shuffle(rows)
        warehouse = Warehouse(make_warehouse_url())
        land_folder(write_csv(tmp_path / str(seed), source), replace(settings, warehouse_url=warehouse.url))
        contents.append(snapshot(warehouse, with_batches=False))
    assert contents[0] == contents[1] == contents[2]


def test_a_grown_folder_lands_like_a_fresh_one(make_warehouse_url, settings: Settings, tmp_path: Path) -> None:
    today = good_source(users=30, sessions=200)
    today["sessions"][150]["duration_seconds"] = "-1"
    yesterday = {**today, "users": today["users"][:25], "sessions": today["sessions"][:120]}
    fresh, grown = Warehouse(make_warehouse_url()), Warehouse(make_warehouse_url())
    land_folder(write_csv(tmp_path / "today", today), replace(settings, warehouse_url=fresh.url))
    for name, source in (("yesterday", yesterday), ("today", today)):
        report = land_folder(write_csv(tmp_path / name, source), replace(settings, warehouse_url=grown.url))
        assert_accounted(report, grown) if name == "yesterday" else None
    assert snapshot(grown, with_batches=False) == snapshot(fresh, with_batches=False)
    assert table_of(report, "users").good == 5
    # Sessions of users 25 to 29 waited for them: they were in yesterday's file and are good today.
    assert table_of(report, "sessions").released == 20
    assert grown.scalar("select count(*) from quarantine.rows where released_by_batch is null") == 1
    assert grown.scalar("select sum(received - good - quarantined - duplicates) from audit.landings") == 0


def test_rows_that_came_before_their_user_land_with_the_user(
    make_warehouse_url, settings: Settings, tmp_path: Path
) -> None:
    whole = good_source(users=30, sessions=100)
    first = {**whole, "users": whole["users"][:10]}
    late = {"users": whole["users"][10:], "sessions": good_sessions(1, 1)}
    warehouse, fresh = Warehouse(make_warehouse_url()), Warehouse(make_warehouse_url())
    land_folder(write_csv(tmp_path / "whole", whole), replace(settings, warehouse_url=fresh.url))
    land_folder(write_csv(tmp_path / "first", first), replace(settings, warehouse_url=warehouse.url))
    report = land_folder(write_csv(tmp_path / "late", late), replace(settings, warehouse_url=warehouse.url))
    assert snapshot(warehouse, with_batches=False) == snapshot(fresh, with_batches=False)
    # They carry the number of the landing that wrote them, or builds would take them for known.
    newest = "select count(*) from raw.sessions where _landing_id = (select max(landing_id) from audit.landings)"
    assert table_of(report, "sessions").released > 0
    assert warehouse.scalar(newest) == table_of(report, "sessions").released + table_of(report, "sessions").good


def test_what_landed_wins_against_other_content(warehouse: Warehouse, settings: Settings, tmp_path: Path) -> None:
    land_folder(write_csv(tmp_path / "one", good_source()), settings)
    source = good_source()
    source["sessions"][7]["duration_seconds"] = "12345"
    report = land_folder(write_csv(tmp_path / "two", source), settings)
    assert table_of(report, "sessions").quarantined == 1
    assert warehouse.scalar("select duration_seconds from raw.sessions where session_id = 'session-7'") == 7
    assert warehouse.scalar("select reason from quarantine.rows") == "session_id came before with other content"


def test_land_source_reports_a_stage(settings: Settings) -> None:
    write_csv(settings.source_folder, good_source())
    report = land_source(date(2018, 1, 2), settings)
    assert report.stage == "land_source"
    assert report.rows == 152
    assert report.details["received"] == 152
    assert any("There is no table exposures" in message for message in report.messages)


def test_without_optional_tables_it_says_what_is_missing(settings: Settings, tmp_path: Path) -> None:
    source = {"users": good_users(3), "sessions": good_sessions(5, 3)}
    report = land_folder(write_csv(tmp_path / "source", source), settings)
    text = " ".join(report.warnings)
    assert "There is no table payments: there is no money value" in text
    assert "There is no table events: nobody can be invited" in text


def test_unknown_columns_and_files_are_ignored_with_a_warning(settings: Settings, tmp_path: Path) -> None:
    source = good_source()
    source["users"] = [{**user, "email": "a@b.example"} for user in source["users"]]
    folder = write_csv(tmp_path / "source", source)
    (folder / "extra.csv").write_text("a\n1\n")
    (folder / ".hidden.csv").write_text("a\n1\n")
    (folder / "README.md").write_text("about")
    report = land_folder(folder, settings)
    assert "users.csv: unknown columns were ignored (email)." in report.warnings
    assert "extra.csv is no table of the source contract and was ignored." in report.warnings
    assert not any("README" in warning or "hidden" in warning for warning in report.warnings)


def test_parts_of_a_table_land_as_one(warehouse: Warehouse, settings: Settings, tmp_path: Path) -> None:
    folder = write_csv(tmp_path / "source", {"users": good_users(5)})
    for name, rows in (("a", good_sessions(10, 5)), ("b", good_sessions(15, 5))):
        write_parquet(tmp_path / name, {"sessions": rows})
        (folder / "sessions.parquet").mkdir(exist_ok=True)
        (tmp_path / name / "sessions.parquet").rename(folder / "sessions.parquet" / f"{name}.parquet")
    report = land_folder(folder, settings)
    assert table_of(report, "sessions").received == 25
    assert table_of(report, "sessions").duplicates == 10
    assert warehouse.scalar("select count(*) from raw.sessions") == 15


def drop_file(folder: Path) -> None:
    (folder / "sessions.csv").unlink()


def drop_column(folder: Path) -> None:
    file = folder / "sessions.csv"
    file.write_text(file.read_text().replace("started_at", "began_at", 1))


def empty_file(folder: Path) -> None:
    (folder / "sessions.csv").write_bytes(b"")


def header_alone(folder: Path) -> None:
    file = folder / "sessions.csv"
    file.write_text(file.read_text().splitlines()[0] + "\n")


def latin_one(folder: Path) -> None:
    file = folder / "users.csv"
    file.write_bytes(file.read_text().replace("a, b", "Fran\xe7ais").encode("latin-1"))


def utf_16(folder: Path) -> None:
    file = folder / "users.csv"
    file.write_bytes(file.read_text().encode("utf-16"))


def broken_parquet(folder: Path) -> None:
    (folder / "sessions.csv").unlink()
    (folder / "sessions.parquet").write_bytes(b"PAR1 and then nothing of use")


def both_formats(folder: Path) -> None:
    (folder / "sessions.parquet").write_bytes(b"")


def doubled_column(folder: Path) -> None:
    file = folder / "sessions.csv"
    file.write_text(file.read_text().replace("browser", "user_id", 1))


def semicolons(folder: Path) -> None:
    file = folder / "users.csv"
    file.write_text(file.read_text().replace(",", ";"))


def no_usable_row(folder: Path) -> None:
    file = folder / "sessions.csv"
    file.write_text(file.read_text().replace("user-", "stranger-"))


def two_currencies(folder: Path) -> None:
    file = folder / "payments.csv"
    file.write_text(file.read_text().replace("EUR", "USD", 1))


REFUSED = {
    drop_file: "has no sessions.csv or sessions.parquet: this table is required",
    drop_column: "has no column started_at, which the source contract requires; its columns are session_id, ",
    empty_file: "sessions.csv is empty",
    header_alone: "sessions.csv has no rows: the table sessions is required",
    latin_one: "users.csv is not UTF-8 (line 2)",
    utf_16: "users.csv is not UTF-8 (line 1)",
    broken_parquet: "sessions.parquet cannot be read as Parquet",
    both_formats: "holds sessions twice (sessions.csv and sessions.parquet): keep one of them",
    doubled_column: "sessions.csv has two columns named user_id",
    semicolons: "Is it separated by something else than commas?",
    no_usable_row: "has no usable row (most often: user_id is not in users)",
    two_currencies: "The payments mix currencies (EUR, USD",
}


@pytest.mark.parametrize("is_first", [True, False], ids=["first", "later"])
def test_a_refused_source_leaves_the_warehouse_as_it_was(
    warehouse: Warehouse, settings: Settings, tmp_path: Path, is_first: bool
) -> None:
    if not is_first:
        land_folder(write_csv(tmp_path / "before", good_source(users=5, sessions=7)), settings)
    before = snapshot(warehouse)
    for spoil, sentence in REFUSED.items():
        if spoil is no_usable_row and not is_first:
            continue  # beside sessions that landed before, the new ones may all wait in quarantine
        folder = write_csv(tmp_path / spoil.__name__, good_source())
        spoil(folder)
        with pytest.raises(LandingError) as refused:
            land_folder(folder, settings)
        assert sentence in str(refused.value)
        assert "\n" not in str(refused.value)
        assert snapshot(warehouse) == before, spoil.__name__


def test_a_folder_that_is_not_there_is_refused(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(LandingError, match="cannot be read"):
        land_folder(tmp_path / "nowhere", settings)


def test_a_currency_that_differs_from_what_landed_is_refused(
    warehouse: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    land_folder(write_csv(tmp_path / "one", good_source()), settings)
    before = snapshot(warehouse)
    source = good_source()
    source["payments"] = [{**row, "payment_id": f"new-{row['payment_id']}", "currency": "USD"} for row in
                          good_payments(3, 3)]  # fmt: skip
    with pytest.raises(LandingError, match="convert the amounts to one currency"):
        land_folder(write_csv(tmp_path / "two", source), settings)
    assert snapshot(warehouse) == before


def test_when_postgres_refuses_nothing_lands(warehouse: Warehouse, settings: Settings, tmp_path: Path) -> None:
    warehouse.execute("alter table raw.payments add constraint capped check (amount < 20)")
    before = snapshot(warehouse)
    with pytest.raises(LandingError, match="nothing was landed"):
        land_folder(write_csv(tmp_path / "source", good_source()), settings)
    assert snapshot(warehouse) == before
    keys = "select count(*) from pg_constraint where contype = 'p' and connamespace = 'raw'::regnamespace"
    assert warehouse.scalar(keys) == 12


def test_a_login_that_owns_only_its_database_can_land(postgres, settings: Settings, tmp_path: Path) -> None:
    from warehouse.migrations import migrate

    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("create role tenant login password 'tenant'")
        connection.execute("create database tenant owner tenant")
    url = f"postgresql://tenant:tenant@127.0.0.1:{postgres.port}/tenant"
    migrate(url)
    report = land_folder(write_csv(tmp_path / "source", good_source()), replace(settings, warehouse_url=url))
    assert_accounted(report, Warehouse(url))


def test_empty_optional_tables_are_as_good_as_absent(warehouse: Warehouse, settings: Settings, tmp_path: Path) -> None:
    folder = write_csv(tmp_path / "source", {**good_source(), "exposures": []})
    (folder / "payments.csv").write_bytes(b"")
    report = land_folder(folder, settings)
    text = " ".join(report.warnings)
    assert "The table payments is empty: there is no money value" in text
    assert "The table exposures is empty: there is no effect yet" in text
    assert table_of(report, "payments").received == 0
    assert_accounted(report, warehouse)


def test_landings_at_once_follow_one_another(warehouse: Warehouse, settings: Settings, tmp_path: Path) -> None:
    folder = write_csv(tmp_path / "source", good_source())
    with ThreadPoolExecutor(3) as pool:
        reports = list(pool.map(lambda _: land_folder(folder, settings), range(3)))
    assert len({tuple(sorted(report.tables, key=lambda table: table.table)) for report in reports}) == 1
    assert warehouse.scalar("select count(distinct landing_id) from audit.landings") == 1
    assert warehouse.scalar("select count(*) from raw.sessions") == 100
