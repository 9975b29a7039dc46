"""The door: what goes in comes out, replacing replaces, and a closed door says so."""

from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
import pytest

from warehouse.door import Warehouse, WarehouseError

CREATE = """
    create table marts.things (
        n integer, money numeric, share float8, is_so boolean, day date, at timestamptz, doc jsonb, words text
    )
"""


@pytest.fixture
def things(warehouse: Warehouse) -> Warehouse:
    warehouse.execute(CREATE)
    return warehouse


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "n": [1, None, 3],
            "money": [Decimal("0.10"), None, Decimal("1000000000000.000001")],
            "share": [0.1, np.nan, np.inf],
            "is_so": [True, None, False],
            "day": [date(2018, 1, 2), None, date(2262, 12, 31)],
            "at": pd.to_datetime(
                ["2018-01-01T01:00:00.123456+02:00", None, "2262-12-31T00:00:00Z"], utc=True, format="ISO8601"
            ),
            "doc": [{"a": [1, "\N{GRINNING FACE}"]}, None, [1]],
            "words": ["", None, 'a"b\n,\\N \\. "'],
        }
    )


def test_what_goes_in_comes_out(things: Warehouse) -> None:
    with things.transaction() as connection:
        assert things.copy_frame(connection, "marts.things", frame()) == 3
    found = things.read_frame("select * from marts.things order by n nulls last")
    found = found.iloc[[0, 2, 1]].reset_index(drop=True)
    assert found["share"].tolist()[:1] == [0.1]
    assert np.isnan(found["share"][1])
    assert np.isinf(found["share"][2])
    assert found["money"].dtype == np.float64
    assert found["is_so"].dtype == "boolean"
    assert found["day"].tolist()[2] == pd.Timestamp("2262-12-31")
    assert str(found["at"][0]) == "2017-12-31 23:00:00.123456+00:00"
    assert found["words"].tolist()[0] == ""
    assert pd.isna(found["words"][1])
    assert found["words"].tolist()[2] == 'a"b\n,\\N \\. "'
    assert things.scalar("select sum(money)::text from marts.things") == "1000000000000.100001"
    assert things.scalar("select doc->'a'->>1 from marts.things where n = 1") == "\N{GRINNING FACE}"


def test_types_do_not_depend_on_the_rows(things: Warehouse) -> None:
    empty = things.read_frame("select * from marts.things where n = 7")
    assert [str(kind) for kind in empty.dtypes] == [
        "int64", "float64", "float64", "bool", "datetime64[us]", "datetime64[us, UTC]", "str", "str",
    ]  # fmt: skip
    assert things.read_frame("select cast(null as text) as only").isna().all(axis=None)
    assert things.read_arrow("select 1 as n").schema == pa.schema([("n", pa.int64())])


def test_parameters_and_percent_signs(things: Warehouse) -> None:
    assert things.read_frame("select %(word)s as word", {"word": "it's 5 %"}).word[0] == "it's 5 %"
    assert things.read_frame("select 'a' as word where 'abc' like 'a%'").word[0] == "a"
    assert things.scalar("select count(*) from marts.things where words = %s", ["x"]) == 0


def test_replacing_replaces_and_is_one_transaction(things: Warehouse) -> None:
    first = pd.DataFrame({"day": [date(2018, 1, 1)] * 2 + [date(2018, 1, 2)], "n": [1, 2, 3]})
    with things.transaction() as connection:
        things.copy_frame(connection, "marts.things", first)
    new = pd.DataFrame({"day": [date(2018, 1, 1)], "n": [9]})
    with things.transaction() as connection:
        assert things.replace_rows(connection, "marts.things", new, {"day": date(2018, 1, 1)}) == 1
    assert things.read_frame("select n from marts.things order by n").n.tolist() == [3, 9]
    broken = pd.DataFrame({"day": [date(2018, 1, 1)], "n": ["word"]})
    with pytest.raises(psycopg.errors.InvalidTextRepresentation), things.transaction() as connection:
        things.replace_rows(connection, "marts.things", broken, {"day": date(2018, 1, 1)})
    assert things.read_frame("select n from marts.things order by n").n.tolist() == [3, 9]


def test_big_reads_and_writes(things: Warehouse) -> None:
    count = 200_000
    rows = pa.table({"n": pa.array(range(count), pa.int32()), "words": pa.array([f"w{n}\n" for n in range(count)])})
    with things.transaction() as connection:
        things.copy_frame(connection, "marts.things", rows)
    found = things.read_frame("select n, words from marts.things order by n")
    assert found.words.tolist() == rows["words"].to_pylist()


def test_a_closed_door_says_so() -> None:
    with pytest.raises(WarehouseError, match=r"127.0.0.1:1 cannot be reached .*type `make status`") as closed:
        Warehouse("postgresql://ann:secret@127.0.0.1:1/db").scalar("select 1")
    assert "secret" not in str(closed.value)


def test_two_columns_of_one_name_are_refused(things: Warehouse) -> None:
    with pytest.raises(WarehouseError, match="two columns of the same name"):
        things.read_frame("select 1 as a, 2 as a")


@pytest.mark.parametrize("others", [0, 2])
def test_replacing_keeps_other_dates_and_the_key(warehouse: Warehouse, others: int) -> None:
    warehouse.execute("create table marts.dated (day date, n integer, primary key (day, n))")
    warehouse.execute(
        "insert into marts.dated select date '2026-01-01', generate_series(1, 3)"
        " union all select date '2026-01-02', generate_series(1, %s)",
        (others,),
    )

    def replace(numbers: list[int]) -> None:
        key = {"day": date(2026, 1, 1)}
        with warehouse.transaction() as connection, warehouse.replacing(connection, "marts.dated", key) as write:
            for number in numbers:
                assert write(pd.DataFrame({"day": [date(2026, 1, 1)], "n": [number]})) == 1

    replace([7, 8])
    assert warehouse.read_frame("select n from marts.dated where day = '2026-01-01' order by n")["n"].tolist() == [7, 8]
    assert warehouse.scalar("select count(*) from marts.dated where day = '2026-01-02'") == others
    with pytest.raises(psycopg.errors.UniqueViolation):
        replace([7, 7])
    assert warehouse.scalar("select count(*) from marts.dated") == 2 + others
    assert warehouse.scalar(
        "select count(*) from pg_constraint where conrelid = 'marts.dated'::regclass and contype = 'p'"
    )


def test_what_the_company_sets_for_its_database_changes_nothing(things: Warehouse) -> None:
    with things.transaction() as connection:
        things.copy_frame(connection, "marts.things", frame().assign(share=[0.1 + 0.2, np.nan, 1 / 3]))
    before = things.read_frame("select * from marts.things order by n")
    name = things.scalar("select current_database()")
    for setting in (
        "timezone = 'America/New_York'",
        "datestyle = 'SQL, DMY'",
        "standard_conforming_strings = off",
        "intervalstyle = 'sql_standard'",
        "bytea_output = 'escape'",
        "extra_float_digits = 0",
        "search_path = 'nowhere'",
    ):
        things.execute(f"alter database {name} set {setting}")
    after = things.read_frame("select * from marts.things order by n")
    pd.testing.assert_frame_equal(after, before, check_exact=True)
    # An address may ask for more of its sessions, as some hosts of Postgres need it.
    asking = Warehouse(f"{things.url}?options=-c%20work_mem%3D9MB")
    assert asking.scalar("show work_mem") == "9MB"
    assert asking.scalar("show timezone") == "UTC"
