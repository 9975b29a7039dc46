"""Reads many columns of many rows at once: Postgres puts the bytes of a column together, and all is one message.

Row by row a column costs Postgres a buffer for every number, and us a message for every row. Here the rows are gathered
by aggregates: four numbers at a time as the four coordinates of a line segment (NaN for NULL), which is the one type
whose binary form is four float8 and nothing else, and texts as their lengths and their letters. Nothing is turned into
text, nothing is parsed: what arrives are arrays as they stand.
"""

from __future__ import annotations

import select
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import pq

__all__ = ["Block", "RawBlock", "read_block", "read_raw_block"]


class Block(NamedTuple):
    """Some rows of a query.

    Attributes:
        numbers: float64 of shape (rows, numbers), NaN for NULL.
        texts: an Arrow array of strings for each text.
    """

    numbers: np.ndarray
    texts: dict[str, pa.Array]

    def part(self, start: int, end: int) -> Block:
        """The rows from one position to before another."""
        return Block(
            self.numbers[start:end], {name: column.slice(start, end - start) for name, column in self.texts.items()}
        )


# What every binary COPY begins with: eleven bytes of signature, flags and the length of an extension that is empty.
_HEADER_BYTES = 19
# After it the number of fields.
_COUNT_BYTES = 2
_NUMBERS_AT_A_TIME = 4


def read_block(
    connection: psycopg.Connection[Any],
    source: str,
    parameters: Mapping[str, Any],
    *,
    numbers: Sequence[str],
    texts: Sequence[str],
) -> Block:
    """Read columns of a query, rows in its order.

    All rows pass through the memory of Postgres and ours at once, and must be less than 1 GB: whoever reads more asks
    for a part at a time.

    Args:
        connection: a connection, autocommit off; the query runs in its transaction.
        source: what follows the select list: `from ... where ... order by ...`.
        parameters: of `source`, as `%(name)s`.
        numbers: SQL expressions that can be cast to double precision.
        texts: SQL expressions that give text.

    Raises:
        psycopg.Error: Postgres refused the query.
        ValueError: the database and this session write texts in different encodings.
    """
    return read_raw_block(connection, source, parameters, numbers=numbers, texts=texts).block()


class RawBlock:
    """Rows as they arrived, which `block` makes numbers and texts of: whoever reads need not be who has the time."""

    def __init__(self, message: memoryview, numbers: Sequence[str], texts: Sequence[str]) -> None:
        self._count, self._texts = len(numbers), tuple(texts)
        fields = _fields(message)
        self._rows = int.from_bytes(next(fields), "big")
        self._quadruples = [next(fields) for _ in range(0, len(numbers), _NUMBERS_AT_A_TIME)]
        self._words = [(next(fields), next(fields)) for _ in texts]

    def block(self, *, sorted_by: str | None = None) -> Block:
        """Return the rows, in the order they arrived in or sorted by a text, by code point."""
        columns = {text: _text(*words) for text, words in zip(self._texts, self._words, strict=True)}
        order = None
        if sorted_by is not None:
            order = pc.sort_indices(columns[sorted_by])
            columns = {text: column.take(order) for text, column in columns.items()}
            order = order.to_numpy()
        # One column after another: whoever takes some of the columns copies them as they lie.
        values = np.empty((_NUMBERS_AT_A_TIME * len(self._quadruples), self._rows))
        for number, message in enumerate(self._quadruples):
            cells = np.frombuffer(message, dtype=">f8").reshape(self._rows, _NUMBERS_AT_A_TIME)
            first = _NUMBERS_AT_A_TIME * number
            values[first : first + _NUMBERS_AT_A_TIME] = (cells if order is None else cells[order]).T
        return Block(values[: self._count].T, columns)


def read_raw_block(
    connection: psycopg.Connection[Any],
    source: str,
    parameters: Mapping[str, Any],
    *,
    numbers: Sequence[str],
    texts: Sequence[str],
) -> RawBlock:
    """Read as `read_block`, and leave it to the caller to make numbers of what arrived."""
    if connection.info.transaction_status is pq.TransactionStatus.IDLE:
        connection.execute("select")  # psycopg opens the transaction that the lines below run in
    selected = [
        *(f"coalesce(cast({number} as double precision), 'NaN') as n{place}" for place, number in enumerate(numbers)),
        *(f"{text} as t{place}" for place, text in enumerate(texts)),
    ]
    gathered = ["count(*)"]
    for first in range(0, len(numbers), _NUMBERS_AT_A_TIME):
        places = range(first, first + _NUMBERS_AT_A_TIME)
        coordinates = [f"n{place}" if place < len(numbers) else "0" for place in places]
        ends = ", ".join(f"point({', '.join(coordinates[end : end + 2])})" for end in (0, 2))
        gathered.append(f"string_agg(lseg_send(lseg({ends})), null)")
    for place in range(len(texts)):
        gathered += [
            f"string_agg(int4send(coalesce(octet_length(t{place}), -1)), null)",
            f"string_agg(t{place}, null)",
        ]
    statement = (
        f"copy (select {', '.join(gathered)} from (select {', '.join(selected)} {source}) as rows)"
        " to stdout with (format binary)"
    )
    message, *_ = _messages(connection, psycopg.ClientCursor(connection).mogrify(statement, parameters))
    return RawBlock(message, numbers, texts)


def _fields(message: memoryview) -> Iterator[memoryview]:
    """Cut out the fields of the one row; of no rows nothing is gathered, which is NULL and here as good as nothing."""
    position = _HEADER_BYTES + _COUNT_BYTES
    while True:
        size = max(int.from_bytes(message[position : position + 4], "big", signed=True), 0)
        yield message[position + 4 : position + 4 + size]
        position += 4 + size


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


def _text(lengths: memoryview, letters: memoryview) -> pa.Array:
    """Texts of these lengths, -1 for NULL, one after another.

    Raises:
        ValueError: the letters are not as many as the lengths say.
    """
    sizes = np.frombuffer(lengths, dtype=">i4").astype(np.int64)
    is_known = sizes >= 0
    ends = np.concatenate([[0], np.cumsum(np.maximum(sizes, 0))])
    if ends[-1] != len(letters):
        raise ValueError(
            "The database and this session write texts differently: leave client_encoding out of the address."
        )
    validity = None if is_known.all() else pa.py_buffer(np.packbits(is_known, bitorder="little"))
    return pa.Array.from_buffers(
        pa.string(), len(sizes), [validity, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(letters)]
    )
