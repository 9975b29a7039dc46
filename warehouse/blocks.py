"""Reads many numeric columns of many rows at once: binary COPY into one array of float64, texts beside it.

A row arrives as a message of its own. A number takes twelve bytes in each (its length, then a float8, NaN for NULL),
so that the numbers of all rows are one array as they stand; nothing is turned into text, nothing is parsed, and the
loop over the messages does no more than keep them. Texts follow the numbers in each row and become Arrow columns.
"""

from __future__ import annotations

import select
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
from psycopg import pq

__all__ = ["Block", "read_block", "read_blocks"]

Block = tuple[np.ndarray, dict[str, pa.Array]]

# What every binary COPY begins with: eleven bytes of signature, flags and the length of an extension that is empty.
_HEADER_BYTES = 19
_END_OF_ROWS = b"\xff\xff"


def read_block(
    connection: psycopg.Connection[Any],
    source: str,
    parameters: Mapping[str, Any],
    *,
    numbers: Sequence[str],
    texts: Sequence[str],
) -> Block:
    """Read columns of a query, rows in its order.

    Args:
        connection: a connection, autocommit off; the query runs in its transaction.
        source: what follows the select list: `from ... where ... order by ...`.
        parameters: of `source`, as `%(name)s`.
        numbers: SQL expressions that can be cast to double precision.
        texts: SQL expressions that give text.

    Returns:
        the numbers, float64 of shape (rows, len(numbers)), NaN for NULL; and an Arrow array of strings for each text.

    Raises:
        psycopg.Error: Postgres refused the query.
    """
    blocks = list(read_blocks(connection, source, parameters, numbers=numbers, texts=texts, rows=None))
    return blocks[0] if blocks else (np.zeros((0, len(numbers))), {text: pa.array([], pa.string()) for text in texts})


def read_blocks(
    connection: psycopg.Connection[Any],
    source: str,
    parameters: Mapping[str, Any],
    *,
    numbers: Sequence[str],
    texts: Sequence[str],
    rows: int | None,
) -> Iterator[Block]:
    """Read as `read_block`, at most `rows` rows at a time as they arrive; nothing where there is no row.

    The connection can do nothing else before the last block is read.
    """
    if connection.info.transaction_status is pq.TransactionStatus.IDLE:
        connection.execute("select")  # psycopg opens the transaction that the lines below run in
    selected = [f"coalesce(cast({number} as double precision), 'NaN')" for number in numbers]
    statement = f"copy (select {', '.join([*selected, *texts])} {source}) to stdout with (format binary)"
    width = 2 + 12 * len(numbers)
    fixed, rest, ends = BytesIO(), BytesIO(), [0]
    start = _HEADER_BYTES
    for message in _messages(connection, psycopg.ClientCursor(connection).mogrify(statement, parameters)):
        if message[start : start + 2] == _END_OF_ROWS:
            continue
        fixed.write(message[start : start + width])
        ends.append(ends[-1] + rest.write(message[start + width :]))
        start = 0
        if len(ends) - 1 == rows:
            yield _block(fixed, rest, ends, numbers, texts)
            fixed, rest, ends = BytesIO(), BytesIO(), [0]
    if len(ends) > 1:
        yield _block(fixed, rest, ends, numbers, texts)


def _block(fixed: BytesIO, rest: BytesIO, ends: list[int], numbers: Sequence[str], texts: Sequence[str]) -> Block:
    """Rows that arrived: their numbers, one after another, and their texts, where each row's end."""
    rows = len(ends) - 1
    cells = np.frombuffer(fixed.getbuffer(), dtype=np.uint8).reshape(rows, -1)[:, 2:]
    values = cells.reshape(rows, len(numbers), 12)[:, :, 4:].view(">f8")[:, :, 0]
    columns = _texts(rest.getvalue(), np.array(ends[:-1], dtype=np.int64), len(texts))
    return values.astype(np.float64), dict(zip(texts, columns, strict=True))


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


def _texts(content: bytes, position: np.ndarray, count: int) -> Iterator[pa.Array]:
    """Cut the texts out: `position` is where each row begins; each text is its length (-1 for NULL) and its bytes."""
    letters = np.frombuffer(content, dtype=np.uint8)
    rows = len(position)
    for _ in range(count):
        lengths = np.zeros(rows, dtype=np.int64)
        for byte in range(4):
            lengths = lengths << 8 | letters[position + byte]
        is_known = lengths < 1 << 31
        lengths[~is_known] = 0
        ends = np.concatenate([[0], np.cumsum(lengths)])
        position = position + 4
        places = np.repeat(position - ends[:-1], lengths) + np.arange(ends[-1])
        validity = None if is_known.all() else pa.py_buffer(np.packbits(is_known, bitorder="little"))
        buffers = [validity, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(letters[places])]
        yield pa.Array.from_buffers(pa.string(), rows, buffers)
        position = position + lengths
