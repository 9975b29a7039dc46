"""Many numeric columns at once: what psycopg reads row by row comes out, with gaps, long texts and errors."""

import hashlib

import numpy as np
import psycopg
import pytest

from warehouse.blocks import read_block, read_raw_block
from warehouse.door import Warehouse

ROWS = """
    create table marts.things as select
        n, n::numeric / 8 as money, case when n % 3 > 0 then n * 1.5::float8 end as share, n % 2 = 0 as is_odd,
        case when n % 5 > 0 then repeat('é😀', n % 7) || n end as words, md5(n::text) as key
    from generate_series(0, %s) as n
"""


@pytest.mark.parametrize("rows", [0, 1, 999])
def test_numbers_and_texts_come_out_as_they_are(warehouse: Warehouse, rows: int) -> None:
    with warehouse.transaction() as connection:
        connection.execute(ROWS.replace("%s", str(rows - 1)))
        numbers, texts, _ = read_block(
            connection,
            "from marts.things where n >= %(least)s and key <> %(quoted)s order by n",
            {"least": 0, "quoted": "o'x%"},
            numbers=["n", "money", "share", "cast(is_odd as integer)"],
            texts=["words", "key"],
        )
        expected = connection.execute(
            "select n, money, share, is_odd, words, key from marts.things order by n"
        ).fetchall()
    assert numbers.shape == (rows, 4)
    for position in range(4):
        column = np.array([np.nan if row[position] is None else float(row[position]) for row in expected])
        np.testing.assert_array_equal(numbers[:, position], column)
    assert texts["words"].to_pylist() == [row[4] for row in expected]
    assert texts["key"].to_pylist() == [row[5] for row in expected]


@pytest.mark.parametrize("rows", [0, 1, 40])
def test_tables_of_rows_come_out_line_by_line(warehouse: Warehouse, rows: int) -> None:
    with warehouse.transaction() as connection:
        numbers, texts, tables = read_block(
            connection,
            "from generate_series(1, %(rows)s) as n left join lateral (select array_agg(array[line, n / 8.0::float8,"
            " 'NaN'] order by line) as lines from generate_series(1, n %% 4) as line) as found on true order by n",
            {"rows": rows},
            numbers=["n"],
            texts=["case when mod(n, 2) > 0 then 'é' || n end"],
            tables={"found.lines": 3, "array[array[n, -n]]::float8[]": 2},
        )
    expected = [(n - 1, line, n / 8) for n in range(1, rows + 1) for line in range(1, n % 4 + 1)]
    lines = tables["found.lines"]
    assert lines.values.shape == (len(expected), 3)
    assert list(zip(lines.rows, *lines.values[:, :2].T, strict=True)) == expected
    assert np.isnan(lines.values[:, 2]).all()
    pairs = tables["array[array[n, -n]]::float8[]"]
    np.testing.assert_array_equal(pairs.values, numbers * [1, -1])
    np.testing.assert_array_equal(pairs.rows, np.arange(rows))
    (words,) = texts.values()
    assert words.to_pylist() == [f"é{n}" if n % 2 else None for n in range(1, rows + 1)]


def test_rows_are_sorted_with_all_they_brought_and_cut_into_parts(warehouse: Warehouse) -> None:
    with warehouse.transaction() as connection:
        raw = read_raw_block(
            connection,
            "from generate_series(1, 700) as n order by -n",
            {},
            numbers=["n", "n / 2.0"],
            texts=["lpad(n::text, 1 + n / 100, '0')", "md5(n::text)"],
            tables={"case when mod(n, 3) > 0 then array[array[n, n + 1], array[-n, 0]]::float8[] end": 2},
        )
    whole = raw.block(sorted_by="md5(n::text)")
    keys = whole.texts["md5(n::text)"].to_pylist()
    assert keys == sorted(keys)
    assert len(set(keys)) == 700
    assert [hashlib.md5(str(int(n)).encode()).hexdigest() for n in whole.numbers[:, 0]] == keys
    np.testing.assert_array_equal(whole.numbers[:, 1], whole.numbers[:, 0] / 2)
    parts = list(whole.parts(128))
    assert [len(part.numbers) for part in parts] == [128] * 5 + [60]
    assert [key for part in parts for key in part.texts["md5(n::text)"].to_pylist()] == keys
    for part in parts:
        (cells,) = part.tables.values()
        numbers = part.numbers[:, 0]
        with_table = numbers[numbers % 3 > 0]
        np.testing.assert_array_equal(numbers[cells.rows], np.repeat(with_table, 2))
        np.testing.assert_array_equal(cells.values[::2], np.stack([with_table, with_table + 1], axis=1))


def test_a_refused_query_raises_and_leaves_a_transaction_that_can_be_rolled_back(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        with pytest.raises(psycopg.errors.UndefinedTable):
            read_block(connection, "from marts.nothing", {}, numbers=["1"], texts=[])
        connection.rollback()
        with pytest.raises(psycopg.errors.DivisionByZero):
            read_block(connection, "from generate_series(0, 5000) as n", {}, numbers=["1 / (4000 - n)"], texts=[])
        connection.rollback()
        assert connection.execute("select 7").fetchone() == (7,)
