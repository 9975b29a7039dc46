"""Bad rows: every kind of corruption goes to quarantine with its reason and text, and takes no good row with it."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.warehouse.sources import (
    Rows,
    assert_accounted,
    csv_line,
    good_sessions,
    good_source,
    good_users,
    snapshot,
    table_of,
    write_csv,
    write_lines,
)
from warehouse.contract import load_contract
from warehouse.door import Warehouse
from warehouse.landing import land_folder
from warehouse.settings import Settings

SESSION_COLUMNS = list(good_sessions(1, 1)[0])


def with_value(column: str, value: str) -> Callable[[dict[str, str], int], str]:
    """A corruption that puts a value into a column."""
    return lambda row, number: csv_line(list({**row, column: value}.values()))


def without_last_value(row: dict[str, str], number: int) -> str:
    return csv_line(list(row.values())[:-1])


def with_one_more_value(row: dict[str, str], number: int) -> str:
    return csv_line([*row.values(), "more"])


def with_opening_quote(row: dict[str, str], number: int) -> str:
    return csv_line(list(row.values())).replace(",user-", ',"user-', 1)


def with_closing_quote(row: dict[str, str], number: int) -> str:
    return csv_line(list(row.values())).replace(",system 7", ',system 7"', 1)


def with_quote_inside(row: dict[str, str], number: int) -> str:
    return csv_line(list(row.values())).replace("system 7", 'sys"tem" 7', 1)


def cut_off(row: dict[str, str], number: int) -> str:
    return csv_line(list(row.values()))[:14]


def shifted(row: dict[str, str], number: int) -> str:
    return csv_line([*list(row.values())[1:], ""])


def joined_lines(row: dict[str, str], number: int) -> str:
    return csv_line(list(row.values())) + csv_line(list(row.values()))


def other_separator(row: dict[str, str], number: int) -> str:
    return ";".join(row.values())


def blank(row: dict[str, str], number: int) -> str:
    return ""


def other_content(row: dict[str, str], number: int) -> str:
    return csv_line(list({**row, "session_id": "session-0", "duration_seconds": str(100_000 + number)}.values()))


# What is done to a session, and a part of the reason that must be given for it.
CORRUPTIONS: dict[str, tuple[Callable[[dict[str, str], int], str], str]] = {
    "no key": (with_value("session_id", ""), "session_id is missing"),
    "no user": (with_value("user_id", ""), "user_id is missing"),
    "unknown user": (with_value("user_id", "nobody"), "user_id is not in users"),
    "words for a time": (with_value("started_at", "yesterday"), "started_at is not a time"),
    "a day that does not exist": (with_value("started_at", "2017-02-30T00:00:00Z"), "started_at is not a time"),
    "a year out of reach": (with_value("started_at", "9999-12-31T00:00:00Z"), "started_at is not a time"),
    "infinity for a time": (with_value("started_at", "infinity"), "started_at is not a time"),
    "American dates": (with_value("started_at", "12/31/2017 10:00"), "started_at is not a time"),
    "negative number": (with_value("duration_seconds", "-5"), "duration_seconds is below 0"),
    "fraction for a whole number": (with_value("duration_seconds", "1.5"), "duration_seconds is not a whole"),
    "NaN": (with_value("duration_seconds", "NaN"), "duration_seconds is not a whole number"),
    "number beyond reason": (with_value("duration_seconds", "9" * 40), "duration_seconds is not a whole number"),
    "word for a number": (with_value("page_view_count", "many"), "page_view_count is not a whole number"),
    "unknown word": (with_value("device_type", "fridge"), "device_type is none of"),
    "wrong code": (with_value("country", "Germany"), "country is not an ISO 3166-1"),
    "NUL byte": (with_value("browser", "fire\0fox"), "NUL byte"),
    "endless key": (with_value("session_id", "x" * 3000), "session_id is longer than 1000 bytes"),
    "too few values": (without_last_value, "the row has 9 values, the header 10"),
    "too many values": (with_one_more_value, "the row has 11 values, the header 10"),
    "opening quote": (with_opening_quote, "a quote is missing"),
    "closing quote": (with_closing_quote, "a quote is missing"),
    "quote inside": (with_quote_inside, "in the middle of a value"),
    "cut off": (cut_off, "values, the header 10"),
    "shifted by one": (shifted, "is not"),
    "two rows on a line": (joined_lines, "the row has 19 values, the header 10"),
    "other separator": (other_separator, "the row has 1 values, the header 10"),
    "empty line": (blank, "the line is empty"),
    "key again with other content": (other_content, "session_id came before with other content"),
}


@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_every_corruption_is_quarantined_and_no_good_row_refused(
    warehouse: Warehouse, settings: Settings, tmp_path: Path, line_end: str
) -> None:
    count = 20_000
    rows = good_sessions(count, 50)
    for number in range(0, count, 97):  # values over several lines are good
        rows[number]["operating_system"] = 'system,\n"7"\nbeta'
    lines = [csv_line(list(row.values())) for row in rows]
    chosen = random.Random(7).sample(range(1, count), count // 20)
    bad: dict[str, list[str]] = {kind: [] for kind in CORRUPTIONS}
    for position, number in enumerate(sorted(chosen)):
        kind = list(CORRUPTIONS)[position % len(CORRUPTIONS)]
        rows[number]["operating_system"] = "system 7"
        lines[number] = CORRUPTIONS[kind][0](rows[number], number)
        bad[kind].append(lines[number])
    folder = write_csv(tmp_path / "source", {"users": good_users(50)})
    write_lines(folder, "sessions", SESSION_COLUMNS, lines, line_end)
    report = land_folder(folder, settings)

    good = sorted({row["session_id"] for number, row in enumerate(rows) if number not in set(chosen)})
    landed = warehouse.read_frame("select session_id, operating_system from raw.sessions order by 1")
    assert sorted(landed.session_id) == good
    assert landed.operating_system.str.contains("\n").sum() == sum(
        number not in set(chosen) for number in range(0, count, 97)
    )
    kept = warehouse.read_frame("select raw_row, reason, row_offset from quarantine.rows order by row_offset")
    assert len(kept) == len(chosen)
    assert table_of(report, "sessions").received == count
    for kind, texts in bad.items():
        for text in texts:
            reasons = kept.reason[kept.raw_row == text.replace("\0", "\N{SYMBOL FOR NULL}")]
            assert len(reasons), f"{kind}: {text}"
            assert reasons.str.contains(CORRUPTIONS[kind][1], regex=False).all(), f"{kind}: {list(reasons)}"
    assert_accounted(report, warehouse)


def test_a_quarantined_row_says_where_it_stood(warehouse: Warehouse, settings: Settings, tmp_path: Path) -> None:
    rows = good_sessions(6, 3)
    rows[1]["operating_system"] = "one\ntwo\nthree"
    rows[4]["duration_seconds"] = "-1"
    write_csv(tmp_path / "source", {"users": good_users(3), "sessions": rows})
    land_folder(tmp_path / "source", settings)
    kept = warehouse.read_frame("select * from quarantine.rows").iloc[0]
    lines = (tmp_path / "source" / "sessions.csv").read_text().splitlines()
    assert lines[kept.row_offset - 1] == kept.raw_row
    assert (kept.source, kept.column_name, kept.reason) == (
        "sessions.csv", "duration_seconds", "duration_seconds is below 0",
    )  # fmt: skip


STRANGE_IDS = [
    "it's", 'say "hi"', "a,b", "line\nbreak", "cr\r\nlf", "tab\there", "007", " padded ", "emoji \N{GRINNING FACE}",
    "\N{LATIN SMALL LETTER E WITH ACUTE}", "e\N{COMBINING ACUTE ACCENT}", "NULL", "null", "nan", "\\N", "\\", "%s",
    "{}", "$1", "; drop table users; --", "\N{ZERO WIDTH SPACE}", "1e5", "x" * 900,
]  # fmt: skip


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_strange_ids_are_kept_exactly(warehouse: Warehouse, settings: Settings, tmp_path: Path, format: str) -> None:
    users = [{**good_users(1)[0], "user_id": name} for name in STRANGE_IDS]
    sessions = [{**good_sessions(1, 1)[0], "session_id": f"of {name}"[:900], "user_id": name} for name in STRANGE_IDS]
    folder = write_csv(tmp_path / "source", {"users": users, "sessions": sessions})
    if format == "parquet":
        for table, rows in (("users", users), ("sessions", sessions)):
            (folder / f"{table}.csv").unlink()
            pq.write_table(pa.Table.from_pylist(rows), folder / f"{table}.parquet")
    report = land_folder(folder, settings)
    assert [table.quarantined for table in report.tables] == [0, 0]
    with warehouse.transaction() as connection:
        landed = {row[0] for row in connection.execute("select user_id from raw.sessions").fetchall()}
    assert landed == set(STRANGE_IDS)


# A time as received, and as it lands; None where it goes to quarantine.
TIMES = [
    ("2017-03-01T12:00:00Z", "2017-03-01 12:00:00+00"),
    ("2017-03-01T12:00:00+02:00", "2017-03-01 10:00:00+00"),
    ("2017-03-01 12:00:00.123456-0530", "2017-03-01 17:30:00.123456+00"),
    ("2017-03-01 12:00", "2017-03-01 12:00:00+00"),
    ("2017-03-01", "2017-03-01 00:00:00+00"),
    ("2262-04-12T00:00:00Z", "2262-04-12 00:00:00+00"),
    ("2262-12-31 23:59:59", "2262-12-31 23:59:59+00"),
    ("2300-01-01", None),
    ("0001-01-01", None),
    ("1899-12-31", None),
    ("epoch", None),
    ("1514764800", None),
    ("2017-13-01", None),
]


def test_times_are_utc(warehouse: Warehouse, settings: Settings, tmp_path: Path) -> None:
    source = {"users": good_users(1), "sessions": good_sessions(len(TIMES), 1)}
    for row, (received, _) in zip(source["sessions"], TIMES, strict=True):
        row["started_at"] = received
    report = land_folder(write_csv(tmp_path / "source", source), settings)
    for row, (received, expected) in zip(source["sessions"], TIMES, strict=True):
        query = "select cast(started_at as text) from raw.sessions where session_id = %s"
        assert warehouse.scalar(query, [row["session_id"]]) == expected, received
    assert_accounted(report, warehouse)


# Table, column, value as received, and as it lands; None where the row goes to quarantine.
EDGES = [
    ("payments", "amount", "0", None),
    ("payments", "amount", "-1", None),
    ("payments", "amount", "1e12", "1000000000000.000000"),
    ("payments", "amount", "1000000000000", "1000000000000.000000"),
    ("payments", "amount", "0.000001", "0.000001"),
    ("payments", "amount", "1e300", None),
    ("payments", "amount", "NaN", None),
    ("payments", "amount", "inf", None),
    ("payments", "amount", "12,50", None),
    ("payments", "amount", "$12", None),
    ("payments", "amount", "1_000", None),
    ("payments", "kind", "gift", None),
    ("payments", "currency", "eur", None),
    ("events", "ends_at", "2017-12-01T00:00:00Z", None),
    ("events", "ends_at", "2017-12-01T00:00:01Z", "2017-12-01 00:00:01+00"),
    ("events", "reward_cost", "0", "0.000000"),
    ("events", "capacity", "0", None),
    ("events", "capacity", "", ""),
    ("events", "capacity", "10.0", "10"),
    ("exposures", "assignment_probability", "0.5", "0.5"),
    ("exposures", "assignment_probability", "0", None),
    ("exposures", "assignment_probability", "1", None),
    ("exposures", "assignment_probability", "inf", None),
    ("exposures", "event_id", "no-event", None),
    ("exposures", "channel", "pigeon", None),
    ("consents", "is_granted", "true", "true"),
    ("consents", "is_granted", "0", "false"),
    ("consents", "is_granted", "maybe", None),
    ("users", "birth_year", "1899", None),
    ("users", "language", "zh-Hant-TW", "zh-Hant-TW"),
    ("users", "timezone", "not a zone!", None),
    ("users", "attributes", '{"a": [1, {"b": null}]}', '{"a": [1, {"b": null}]}'),
    ("users", "attributes", '{"note": "nan, inf, \\\\u0000"}', '{"note": "nan, inf, \\\\u0000"}'),
    ("users", "attributes", "[1]", None),
    ("users", "attributes", "{a: 1}", None),
    ("users", "attributes", '{"a": 1,}', None),
    ("users", "attributes", '{"a": NaN}', None),
    ("users", "attributes", '{"a": "\\u0000"}', None),
    ("users", "attributes", '{"a": "\\ud800"}', None),
    ("users", "attributes", '{"a": 1e400000}', None),
    ("users", "attributes", '{"a":' * 5000 + "1" + "}" * 5000, None),
]


def test_values_at_the_edge(warehouse: Warehouse, settings: Settings, tmp_path: Path) -> None:
    source = good_source(users=3, sessions=3)
    source["exposures"] = [
        {"exposure_id": "x", "event_id": "event-0", "user_id": "user-0", "exposed_at": "2017-12-02", "channel":
         "email", "arm": "treated", "assignment_probability": ""}
    ]  # fmt: skip
    source["consents"] = [
        {"consent_id": "c", "user_id": "user-0", "channel": "email", "purpose": "marketing", "is_granted": "t",
         "decided_at": "2017-12-02"}
    ]  # fmt: skip
    contract = load_contract()
    for number, (table, column, value, _) in enumerate(EDGES):
        source[table].append({**source[table][0], contract[table].key[0]: f"edge-{number}", column: value})
    report = land_folder(write_csv(tmp_path / "source", source), settings)
    for number, (table, column, value, expected) in enumerate(EDGES):
        query = f"select coalesce(cast({column} as text), '') from raw.{table} where {contract[table].key[0]} = %s"
        assert warehouse.scalar(query, [f"edge-{number}"]) == expected, (table, column, value[:50])
    assert_accounted(report, warehouse)
    # dbt may look into what landed as JSON.
    assert warehouse.scalar("select count(cast(attributes as jsonb)) from raw.users") >= 5


def test_a_file_with_a_byte_order_mark_and_mixed_line_ends(
    warehouse: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    folder = write_csv(tmp_path / "source", {"users": good_users(3)})
    lines = [csv_line(list(row.values())) for row in good_sessions(7, 3)]
    ends = ["\n", "\r\n", "\r", "\r\r\n", "\n", "\r\n", ""]
    text = ",".join(SESSION_COLUMNS) + "\r\n" + "".join(line + end for line, end in zip(lines, ends, strict=True))
    (folder / "sessions.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    report = land_folder(folder, settings)
    assert table_of(report, "sessions").good == 7
    assert_accounted(report, warehouse)


def test_the_first_of_two_rows_with_one_key_wins(warehouse: Warehouse, settings: Settings, tmp_path: Path) -> None:
    rows = good_sessions(3, 3)
    source = {"users": good_users(3), "sessions": [*rows, {**rows[1], "duration_seconds": "77"}, rows[1], rows[2]]}
    report = land_folder(write_csv(tmp_path / "source", source), settings)
    sessions = table_of(report, "sessions")
    assert (sessions.good, sessions.quarantined, sessions.duplicates) == (3, 1, 2)
    assert warehouse.scalar("select duration_seconds from raw.sessions where session_id = 'session-1'") == 1


def test_parquet_with_other_physical_types(warehouse: Warehouse, settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    days = pa.array([17_000, 17_001, 17_002], pa.date32())
    pq.write_table(
        pa.table({"user_id": pa.array([7, 8, 9], pa.int32()), "registered_at": days}), folder / "users.parquet"
    )
    naive = pa.array([1_500_000_000_000] * 3, pa.timestamp("ms"))
    pq.write_table(
        pa.table(
            {
                "session_id": pa.array([1.0, 2.0, None], pa.float64()),
                "user_id": pa.array(["7", "8", "9"], pa.large_string()),
                "started_at": naive,
                "duration_seconds": pa.array([1, 2, 3], pa.decimal128(10, 2)),
                "device_type": pa.array(["mobile", "fridge", None]).dictionary_encode(),
                "page_view_count": pa.array([1.0, 2.5, None], pa.float32()),
            }
        ),
        folder / "sessions.parquet",
    )
    report = land_folder(folder, settings)
    assert table_of(report, "users").good == 3
    landed = warehouse.read_frame("select * from raw.sessions")
    assert list(landed.session_id) == ["1"]
    assert str(landed.started_at[0]) == "2017-07-14 02:40:00+00:00"
    reasons = warehouse.read_frame("select reason, raw_row from quarantine.rows order by row_offset")
    assert reasons.reason[0].startswith("device_type is none of")
    assert '"device_type":"fridge"' in reasons.raw_row[0]
    assert reasons.reason[1] == "session_id is missing"
    assert_accounted(report, warehouse)


def test_one_user_only(warehouse: Warehouse, settings: Settings, tmp_path: Path) -> None:
    report = land_folder(write_csv(tmp_path / "source", good_source(users=1, sessions=1)), settings)
    assert table_of(report, "users").good == 1
    assert_accounted(report, warehouse)


WORDS = st.one_of(
    st.text(alphabet='ab ,"\n\r\0é-', max_size=6), st.sampled_from(["user-0", "2017-01-01", "5", "session-1"])
)


@hypothesis_settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(st.lists(WORDS, max_size=11), max_size=40))
def test_whatever_arrives_every_row_is_in_one_place(
    make_warehouse_url, settings: Settings, tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    folder = write_csv(tmp_path_factory.mktemp("source"), {"users": good_users(1)})
    lines = [csv_line(list(good_sessions(1, 1)[0].values())), *(",".join(row) for row in rows)]
    write_lines(folder, "sessions", SESSION_COLUMNS, lines)
    warehouse = Warehouse(make_warehouse_url())
    chosen = replace(settings, warehouse_url=warehouse.url)
    report = land_folder(folder, chosen)
    assert_accounted(report, warehouse)
    before = snapshot(warehouse)
    land_folder(folder, chosen)
    assert snapshot(warehouse) == before


def test_quarantine_keeps_copies_apart(warehouse: Warehouse, settings: Settings, tmp_path: Path) -> None:
    bad: Rows = [{**good_sessions(1, 1)[0], "duration_seconds": "-1"}] * 3
    source = {"users": good_users(1), "sessions": [*good_sessions(2, 1), *bad]}
    report = land_folder(write_csv(tmp_path / "source", source), settings)
    assert table_of(report, "sessions").quarantined == 3
    assert list(warehouse.read_frame("select copy from quarantine.rows order by 1")["copy"]) == [1, 2, 3]
