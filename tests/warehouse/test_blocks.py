"""Many numeric columns at once: what psycopg reads row by row comes out, with gaps, long texts and errors."""

import hashlib

import numpy as np
import psycopg
import pytest

from local.postgres import EmbeddedPostgres
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
        numbers, texts = read_block(
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


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5])
def test_any_number_of_numbers_comes_out(warehouse: Warehouse, count: int) -> None:
    with warehouse.transaction() as connection:
        found = read_block(
            connection,
            "from generate_series(1, 3) as n order by n",
            {},
            numbers=[f"n * {place}" for place in range(count)],
            texts=["n::text"],
        )
    np.testing.assert_array_equal(found.numbers, np.outer([1, 2, 3], np.arange(count)))
    assert found.texts["n::text"].to_pylist() == ["1", "2", "3"]


def test_rows_are_sorted_with_all_they_brought_and_cut_into_parts(warehouse: Warehouse) -> None:
    with warehouse.transaction() as connection:
        raw = read_raw_block(
            connection,
            "from generate_series(1, 700) as n order by -n",
            {},
            numbers=["n", "n / 2.0"],
            texts=["lpad(n::text, 1 + n / 100, '0')", "md5(n::text)"],
        )
    whole = raw.block(sorted_by="md5(n::text)")
    keys = whole.texts["md5(n::text)"].to_pylist()
    assert keys == sorted(keys)
    assert len(set(keys)) == 700
    assert [hashlib.md5(str(int(n)).encode()).hexdigest() for n in whole.numbers[:, 0]] == keys
    np.testing.assert_array_equal(whole.numbers[:, 1], whole.numbers[:, 0] / 2)
    part = whole.part(640, 800)
    np.testing.assert_array_equal(part.numbers, whole.numbers[640:])
    assert part.texts["md5(n::text)"].to_pylist() == keys[640:]


def test_a_database_of_another_encoding_is_refused_where_its_letters_would_be_cut_wrongly(
    postgres: EmbeddedPostgres,
) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(
            "create database latin template template0 encoding 'LATIN1' locale_provider builtin builtin_locale 'C'"
            " lc_collate 'C' lc_ctype 'C'"
        )
    try:
        with Warehouse(postgres.url("latin") + "?client_encoding=utf8").transaction() as connection:
            assert read_block(connection, "", {}, numbers=[], texts=["'plain'"]).texts["'plain'"].to_pylist() == [
                "plain"
            ]
            with pytest.raises(ValueError, match="client_encoding"):
                read_block(connection, "", {}, numbers=[], texts=["'m\u00fcde'"])
    finally:
        with psycopg.connect(postgres.url(), autocommit=True) as connection:
            connection.execute("drop database latin")


def test_a_refused_query_raises_and_leaves_a_transaction_that_can_be_rolled_back(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        with pytest.raises(psycopg.errors.UndefinedTable):
            read_block(connection, "from marts.nothing", {}, numbers=["1"], texts=[])
        connection.rollback()
        with pytest.raises(psycopg.errors.DivisionByZero):
            read_block(connection, "from generate_series(0, 5000) as n", {}, numbers=["1 / (4000 - n)"], texts=[])
        connection.rollback()
        assert connection.execute("select 7").fetchone() == (7,)
