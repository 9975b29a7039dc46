"""Rows sent in binary are those that text would have written, down to how many digits an amount shows."""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from warehouse import door
from warehouse.binary_rows import binary_rows
from warehouse.door import Warehouse

COLUMNS = {
    "day": "date",
    "words": "text",
    "share": "double precision",
    "amount": "numeric",
    "money": "numeric(38, 6)",
    "count": "bigint",
    "is_there": "boolean",
    "code": "text",
}


def things(rows: int) -> pa.Table:
    """Rows with gaps in every column but the date, amounts of up to six digits, and odd letters."""
    draw = np.random.default_rng(5)
    amounts = np.round(draw.normal(0, 10.0 ** draw.integers(-6, 9, rows)), 6) + 0.0
    amounts[::7], amounts[1::7], amounts[2::7] = np.nan, 0.0, np.round(amounts[2::7])
    shares = np.where(draw.random(rows) < 0.2, np.nan, draw.normal(size=rows) * 10.0 ** draw.integers(-300, 300, rows))
    absent = draw.random(rows) < 0.3
    return pa.table(
        {
            "day": pa.repeat(pa.scalar(date(1999, 12, 31)), rows),
            "words": pa.array(
                [None if gone else "é😀\n\\," * (row % 4) for row, gone in enumerate(absent)], pa.string()
            ),
            "share": shares,
            "amount": amounts,
            "money": amounts,
            "count": pa.array([None if gone else row - 9 for row, gone in enumerate(absent)], pa.int64()),
            "is_there": pa.array([None if row % 5 == 0 else row % 2 == 0 for row in range(rows)], pa.bool_()),
            "code": pa.array([f"c{row}" for row in range(rows)], pa.string()),
        }
    )


@pytest.mark.parametrize("rows", [0, 1, 2000])
def test_binary_and_text_write_the_same_rows(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    table = things(rows)
    monkeypatch.setattr(door, "ROWS_PER_WRITE", 300)
    assert binary_rows(table, {name: kind.split("(")[0] for name, kind in COLUMNS.items()}) is not None
    written = []
    for way in ("binary", "text"):
        if way == "text":
            monkeypatch.setattr(door, "binary_rows", lambda rows, kinds: None)
        with warehouse.transaction() as connection:
            columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
            connection.execute(f"create table marts.things_in_{way} ({columns})")
            assert warehouse.copy_frame(connection, f"marts.things_in_{way}", table) == rows
            written.append(
                connection.execute(f"select array_agg(things::text order by code) from marts.things_in_{way} as things")
            )
    binary, text = (answer.fetchone() for answer in written)
    assert binary == text
    assert rows == 0 or (binary is not None and len(binary[0]) == rows)


def test_parts_that_binary_cannot_write_are_written_as_text_between_those_it_can(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "ROWS_PER_WRITE", 2)
    amounts = [1.5, 2.0, 0.1234567, 4.0, 5.0]
    with warehouse.transaction() as connection:
        connection.execute("create table marts.amounts (place bigint, amount numeric)")
        table = pa.table({"place": pa.array(range(5), pa.int64()), "amount": amounts})
        assert warehouse.copy_frame(connection, "marts.amounts", table) == 5
        found = connection.execute("select amount from marts.amounts order by place").fetchall()
    assert [float(amount) for (amount,) in found] == amounts


@pytest.mark.parametrize("value", [0.1234567, 2e9, float("inf")])
def test_amounts_that_would_not_be_the_same_number_are_left_to_text(value: float) -> None:
    assert binary_rows(pa.table({"amount": [1.0, value]}), {"amount": "numeric"}) is None


def test_types_of_other_kinds_are_left_to_text() -> None:
    assert (
        binary_rows(pa.table({"when": pa.array([0], pa.timestamp("us"))}), {"when": "timestamp with time zone"}) is None
    )
    assert binary_rows(pa.table({"count": [1.0]}), {"count": "bigint"}) is None
