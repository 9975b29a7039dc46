"""Rows of an Arrow table as the messages of a binary COPY, for the types that tables of many rows are made of.

Text costs Postgres a parse of each number and us its printing. Here numbers are written side by side as one array, and
Arrow joins them with the texts of each row. Whatever is not of a type below, or would not be the same number as its
text, is left to text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["HEADER", "TRAILER", "binary_rows"]

# Signature, flags, length of an extension that is empty; and what says that no row follows.
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
# The days from 1970 to 2000, where Postgres begins to count.
_DAYS_TO_2000 = 10_957
# Below this an amount with six digits after the point is one number, as text and as float64.
_LARGEST_AMOUNT = 1e9
_DIGITS = 6
_NEGATIVE = 0x4000

#: A column: which rows have a value, bool (rows,), and the bytes of each, uint8 (rows, width).
_Cells = tuple[np.ndarray, np.ndarray]


def binary_rows(rows: pa.Table, kinds: Mapping[str, str]) -> tuple[list[str], pa.Buffer] | None:
    """Return the order that columns are written in and what to send between `HEADER` and `TRAILER`.

    Args:
        rows: what to write; NaN in it is no value.
        kinds: the Postgres type of each column.

    Returns:
        None where a column is not of a type, or has a value, that this module writes.
    """
    fixed: list[tuple[str, np.ndarray]] = []
    loose: list[tuple[str, np.ndarray, pa.Array]] = []
    for name in rows.column_names:
        column = rows.column(name).combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
        if kinds.get(name) == "text" and pa.types.is_string(column.type):
            lengths = pc.fill_null(pc.binary_length(column), -1).to_numpy(zero_copy_only=False)
            loose.append((name, lengths, pc.fill_null(column, "").cast(pa.binary())))
            continue
        cells = _cells(column, kinds.get(name, ""))
        if cells is None:
            return None
        is_known, values = cells
        if is_known.all():
            fixed.append((name, values))
        else:
            lengths = np.where(is_known, values.shape[1], -1)
            loose.append((name, lengths, _binary(values[is_known], np.where(is_known, values.shape[1], 0))))
    names = [*(name for name, _ in fixed), *(name for name, *_ in loose)]
    return names, _joined(rows.num_rows, fixed, loose)


def _joined(
    count: int, fixed: list[tuple[str, np.ndarray]], loose: list[tuple[str, np.ndarray, pa.Array]]
) -> pa.Buffer:
    """The rows: how many columns, the columns that are as long in every row, and each other one after its length."""
    before = [_repeated(len(fixed) + len(loose), ">i2", count)]
    for _, values in fixed:
        before += [_repeated(values.shape[1], ">i4", count), values]
    pieces = []
    for _, lengths, values in loose:
        before.append(lengths.astype(">i4").view(np.uint8).reshape(count, 4))
        pieces += [_binary(np.concatenate(before, axis=1)), values]
        before = []
    if before:
        pieces.append(_binary(np.concatenate(before, axis=1)))
    joined = pc.binary_join_element_wise(*pieces, pa.scalar(b"", pa.binary()))
    _, ends, messages = joined.buffers()
    return messages.slice(0, int(np.frombuffer(ends, dtype=np.int32)[count]) if count else 0)


def _repeated(number: int, kind: str, count: int) -> np.ndarray:
    return np.broadcast_to(np.array([number], dtype=kind).view(np.uint8), (count, np.dtype(kind).itemsize))


def _binary(values: np.ndarray, lengths: np.ndarray | None = None) -> pa.Array:
    """Rows of bytes as Arrow binary; `lengths` where they are not those of all rows of `values`."""
    count = len(values) if lengths is None else len(lengths)
    ends = np.arange(count + 1) * values.shape[1] if lengths is None else np.concatenate([[0], np.cumsum(lengths)])
    data = np.ascontiguousarray(values).reshape(-1)
    return pa.Array.from_buffers(pa.binary(), count, [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(data)])


def _cells(column: pa.Array, kind: str) -> _Cells | None:
    for is_taken, encode in _ENCODERS.get(kind, ()):
        if is_taken(column.type):
            is_known = pc.is_valid(column).to_numpy(zero_copy_only=False)
            # A date is its number of days.
            values = column.cast(pa.int32()) if pa.types.is_date32(column.type) else column
            empty = pa.scalar(False) if pa.types.is_boolean(values.type) else pa.scalar(0).cast(values.type)
            return encode(pc.fill_null(values, empty).to_numpy(zero_copy_only=False), is_known)
    return None


def _as(kind: str) -> Callable[[np.ndarray, np.ndarray], _Cells]:
    def encode(values: np.ndarray, is_known: np.ndarray) -> _Cells:
        if values.dtype.kind == "f":
            is_known = is_known & ~np.isnan(values)
        return is_known, values.astype(kind).view(np.uint8).reshape(len(values), np.dtype(kind).itemsize)

    return encode


def _days(values: np.ndarray, is_known: np.ndarray) -> _Cells:
    return _as(">i4")(values - _DAYS_TO_2000, is_known)


def _amounts(values: np.ndarray, is_known: np.ndarray) -> _Cells | None:
    """Numeric: how many digits (of base 10,000), place of the first, sign, digits to show after the point, digits."""
    is_known = is_known & ~np.isnan(values)
    amounts = np.where(is_known, values, 0.0)
    if not (np.abs(amounts) < _LARGEST_AMOUNT).all() or (np.round(amounts, _DIGITS) != amounts).any():
        return None
    millionths = np.rint(np.abs(amounts) * 10**_DIGITS).astype(np.int64)
    whole, part = np.divmod(millionths, 10**_DIGITS)
    shown = sum((part % 10**place != 0).astype(np.int64) for place in range(1, _DIGITS + 1))
    fields = np.empty((len(values), 9), dtype=">i2")
    fields[:, :4] = np.stack(
        [np.full(len(values), 5), np.full(len(values), 2), _NEGATIVE * (amounts < 0), shown], axis=1
    )
    for place, digit in enumerate(
        [whole // 10**8, whole // 10**4 % 10**4, whole % 10**4, part // 100, part % 100 * 100]
    ):
        fields[:, 4 + place] = digit
    return is_known, fields.view(np.uint8).reshape(len(values), 18)


_Encoder = tuple[Callable[[pa.DataType], bool], Callable[[np.ndarray, np.ndarray], Any]]
_ENCODERS: dict[str, tuple[_Encoder, ...]] = {
    "double precision": ((pa.types.is_floating, _as(">f8")), (pa.types.is_integer, _as(">f8"))),
    "numeric": ((pa.types.is_floating, _amounts),),
    "bigint": ((pa.types.is_integer, _as(">i8")),),
    "boolean": ((pa.types.is_boolean, _as("u1")),),
    "date": ((pa.types.is_date32, _days),),
}
