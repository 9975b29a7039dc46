"""Reads many numeric columns of many rows at once: binary COPY into one array of float64, texts beside it.

A row arrives as a message of its own. A number takes twelve bytes in each (its length, then a float8, NaN for NULL),
so that the numbers of all rows are one array as they stand; nothing is turned into text, nothing is parsed, and the
loop over the messages does no more than keep them. Texts follow the numbers in each row and become Arrow columns, then
tables of numbers: many short rows that belong to one row arrive in its message.
"""

from __future__ import annotations

import select
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import pq

__all__ = ["Block", "Cells", "RawBlock", "read_block", "read_raw_block"]


class Cells(NamedTuple):
    """Numbers of tables that rows brought along, one row of a table after another.

    Attributes:
        rows: which row each came with, int64 of shape (lines,).
        values: float64 of shape (lines, columns of the tables).
    """

    rows: np.ndarray
    values: np.ndarray


class Block(NamedTuple):
    """Some rows of a query.

    Attributes:
        numbers: float64 of shape (rows, numbers), NaN for NULL.
        texts: an Arrow array of strings for each text.
        tables: what each table brought.
    """

    numbers: np.ndarray
    texts: dict[str, pa.Array]
    tables: dict[str, Cells]

    def parts(self, rows: int) -> Iterator[Block]:
        """Cut into blocks of at most `rows` rows each; a block of none stays one."""
        for start in range(0, max(len(self.numbers), 1), rows):
            end = min(start + rows, len(self.numbers))
            tables = {}
            for name, cells in self.tables.items():
                first, last = np.searchsorted(cells.rows, [start, end])
                tables[name] = Cells(cells.rows[first:last] - start, cells.values[first:last])
            texts = {name: column.slice(start, end - start) for name, column in self.texts.items()}
            yield Block(self.numbers[start:end], texts, tables)


# What every binary COPY begins with: eleven bytes of signature, flags and the length of an extension that is empty.
_HEADER_BYTES = 19
_END_OF_ROWS = b"\xff\xff"
# What an array of two dimensions begins with: their number, flags, the type, and size and lower bound of each.
_ARRAY_HEADER_BYTES = 28
_ROWS_IN_CACHE = 256
_NO_TABLES: Mapping[str, int] = MappingProxyType({})


def read_block(
    connection: psycopg.Connection[Any],
    source: str,
    parameters: Mapping[str, Any],
    *,
    numbers: Sequence[str],
    texts: Sequence[str],
    tables: Mapping[str, int] = _NO_TABLES,
) -> Block:
    """Read columns of a query, rows in its order.

    Args:
        connection: a connection, autocommit off; the query runs in its transaction.
        source: what follows the select list: `from ... where ... order by ...`.
        parameters: of `source`, as `%(name)s`.
        numbers: SQL expressions that can be cast to double precision.
        texts: SQL expressions that give text.
        tables: SQL expressions that give double precision[] of two dimensions without NULL inside, or NULL for a table
            without lines, and how many columns they have.

    Raises:
        psycopg.Error: Postgres refused the query.
    """
    raw = read_raw_block(connection, source, parameters, numbers=numbers, texts=texts, tables=tables)
    return raw.block()


class RawBlock:
    """Rows as they arrived, which `block` makes numbers and texts of: whoever reads need not be who has the time."""

    def __init__(
        self, messages: Iterator[memoryview], numbers: Sequence[str], texts: Sequence[str], tables: Mapping[str, int]
    ) -> None:
        self._count, self._texts, self._tables = len(numbers), tuple(texts), dict(tables)
        self._width = 2 + 12 * self._count
        fixed, rest, ends = BytesIO(), BytesIO(), [0]
        start, width, end = _HEADER_BYTES, self._width, 0
        for message in messages:
            if message[start : start + 2] == _END_OF_ROWS:
                continue
            fixed.write(message[start : start + width])
            end += rest.write(message[start + width :])
            ends.append(end)
            start = 0
        self._fixed, self._rest, self._ends = fixed, rest, ends

    def block(self, *, sorted_by: str | None = None) -> Block:
        """Return the rows, in the order they arrived in or sorted by a text, by code point."""
        rows = len(self._ends) - 1
        letters = np.frombuffer(self._rest.getbuffer(), dtype=np.uint8)
        position = np.array(self._ends[:-1], dtype=np.int64)
        columns: dict[str, pa.Array] = {}
        for text in self._texts:
            columns[text], position = _text(letters, position)
        order = None
        if sorted_by is not None:
            order = pc.sort_indices(columns[sorted_by])
            columns = {text: column.take(order) for text, column in columns.items()}
            order = order.to_numpy()
            position = position[order]
        cut: dict[str, Cells] = {}
        for table, width in self._tables.items():
            cut[table], position = _table(letters, position, width)
        cells = np.frombuffer(self._fixed.getbuffer(), dtype=np.uint8).reshape(rows, self._width)
        # One column after another: whoever takes some of the columns copies them as they lie. What is turned over at a
        # time stays in the processor's cache.
        values = np.empty((self._count, rows))
        for first in range(0, rows, _ROWS_IN_CACHE):
            part = slice(first, first + _ROWS_IN_CACHE)
            taken = cells[part] if order is None else cells[order[part]]
            messages = taken[:, 2:].reshape(len(taken), self._count, 12)
            values[:, part] = messages[:, :, 4:].view(">f8")[:, :, 0].T
        return Block(values.T, columns, cut)


def read_raw_block(
    connection: psycopg.Connection[Any],
    source: str,
    parameters: Mapping[str, Any],
    *,
    numbers: Sequence[str],
    texts: Sequence[str],
    tables: Mapping[str, int] = _NO_TABLES,
) -> RawBlock:
    """Read as `read_block`, and leave it to the caller to make numbers of what arrived."""
    if connection.info.transaction_status is pq.TransactionStatus.IDLE:
        connection.execute("select")  # psycopg opens the transaction that the lines below run in
    selected = [f"coalesce(cast({number} as double precision), 'NaN')" for number in numbers]
    statement = f"copy (select {', '.join([*selected, *texts, *tables])} {source}) to stdout with (format binary)"
    messages = _messages(connection, psycopg.ClientCursor(connection).mogrify(statement, parameters))
    return RawBlock(messages, numbers, texts, tables)


def _messages(connection: psycopg.Connection[Any], statement: str) -> Iterator[memoryview]:
    """Give the messages of a COPY to stdout.

    psycopg's own iteration passes several layers of Python for each row, which is most of the time of a read.
    """
    server = connection.pgconn
    server.send_query(statement.encode())
    started = _next_result(server)
    if started is None or started.status != pq.ExecStatus.COPY_OUT:
        _drain(server, started)
    while True:
        size, data = server.get_copy_data(1)
        if size > 0:
            yield data
        elif size == 0:
            _wait(server)
        else:
            break
    _drain(server, _next_result(server))


def _drain(server: pq.abc.PGconn, result: pq.abc.PGresult | None) -> None:
    """Read what is left of a command and raise what it failed with."""
    failed = None
    while result is not None:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            failed = result
        result = _next_result(server)
    if failed is not None:
        raise psycopg.errors.error_from_result(failed)


def _next_result(server: pq.abc.PGconn) -> pq.abc.PGresult | None:
    while server.is_busy():
        _wait(server)
    return server.get_result()


def _wait(server: pq.abc.PGconn) -> None:
    """Wait for more from the server; other threads run meanwhile."""
    select.select([server.socket], [], [])
    server.consume_input()


def _text(letters: np.ndarray, position: np.ndarray) -> tuple[pa.Array, np.ndarray]:
    """Cut out a text that begins at `position` in each row, and say where the next column begins."""
    lengths = _at(letters, position, ">i4").astype(np.int64)
    is_known = lengths >= 0
    lengths[~is_known] = 0
    ends = np.concatenate([[0], np.cumsum(lengths)])
    position = position + 4
    places = np.repeat(position - ends[:-1], lengths) + np.arange(ends[-1])
    validity = None if is_known.all() else pa.py_buffer(np.packbits(is_known, bitorder="little"))
    buffers = [validity, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(letters[places])]
    return pa.Array.from_buffers(pa.string(), len(lengths), buffers), position + lengths


def _table(letters: np.ndarray, position: np.ndarray, width: int) -> tuple[Cells, np.ndarray]:
    """Cut out a table that begins at `position` in each row, and say where the next column begins.

    After its length an array has a header, then each number's length and the number.
    """
    lengths = np.maximum(_at(letters, position, ">i4").astype(np.int64), 0)
    counts = np.maximum(lengths - _ARRAY_HEADER_BYTES, 0) // 12
    ends = np.cumsum(counts)
    first = position + 4 + _ARRAY_HEADER_BYTES + 4
    places = np.repeat(first - 12 * (ends - counts), counts) + 12 * np.arange(ends[-1] if len(ends) else 0)
    values = _at(letters, places, ">f8").astype(np.float64).reshape(-1, width)
    return Cells(np.repeat(np.arange(len(position)), counts // width), values), position + 4 + lengths


def _at(letters: np.ndarray, position: np.ndarray, kind: str) -> np.ndarray:
    """Numbers of a kind that begin at some bytes, wherever these lie."""
    size = np.dtype(kind).itemsize
    if not len(position):
        return np.zeros(0, dtype=kind)
    return np.ndarray((len(letters) - size + 1,), kind, letters, strides=(1,))[position]
