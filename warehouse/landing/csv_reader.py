"""Reads a CSV in blocks: good records as Arrow columns of text, broken ones with their text and what is wrong."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from warehouse.landing.csv_records import BROKEN_QUOTE, EMPTY_LINE, WHOLE, Records, split_records
from warehouse.landing.reports import LandingError

__all__ = ["BrokenRecord", "CsvFile"]

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
BLOCK_BYTES = 1 << 25
LONGEST_HEADER = 1 << 20
# What a block must not hold if a line is to be a record: quotes, NUL bytes, empty lines.
NOT_SIMPLE = (b'"', b"\0", b"\n\n", b"\n\r\n", b"\r\r")
WRONG_FIELD_COUNT, NUL_BYTE = 3, 4
REASONS = {
    EMPTY_LINE: "the line is empty",
    BROKEN_QUOTE: "a quote is missing, or stands in the middle of a value",
    NUL_BYTE: "the row holds a NUL byte",
}


@dataclass(frozen=True)
class BrokenRecord:
    """A record that cannot be split into values: its row and line in the file, what is wrong, its text."""

    row: int
    line: int
    reason: str
    text: str


@dataclass(frozen=True)
class Block:
    """Where a block of the file lies, and the number of its first record."""

    offset: int
    length: int
    first_row: int


@dataclass
class CsvFile:
    """A CSV file: utf-8, a header, commas, values in quotes where needed; any mixture of line ends.

    `batches` yields the columns named by `wanted`, as text, with `_row` (number of the record from 0) and `_position`
    (line on which it begins, the header being line 1). Afterwards `broken` holds the records that could not be split,
    and `row_count` how many records there were in all.

    Attributes:
        path: the file.
        wanted: names of columns to read; others are skipped.
        looks_complete: tells of split lines (a table of text columns) whether they are rows of the table; bool.
    """

    path: Path
    wanted: Sequence[str]
    looks_complete: Callable[[pa.Table], np.ndarray]
    names: list[str] = field(default_factory=list)
    broken: list[BrokenRecord] = field(default_factory=list)
    row_count: int = 0
    failure: LandingError | None = None

    def __post_init__(self) -> None:
        self._blocks: list[Block] = []
        self._data_offset = 0
        self._read_header()

    @property
    def columns(self) -> list[str]:
        """Names of the columns that are read: those wanted that the file has."""
        return [name for name in self.names if name in self.wanted]

    @property
    def schema(self) -> pa.Schema:
        """Schema of the batches."""
        text = [pa.field(name, pa.string()) for name in self.columns]
        return pa.schema([*text, pa.field("_row", pa.int64()), pa.field("_position", pa.int64())])

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the good records.

        An error is kept in `failure` too, as who reads the batches may replace it by one of its own.

        Raises:
            LandingError: the file cannot be read, or is not UTF-8.
        """
        try:
            with self.path.open("rb") as stream:
                yield from self._read_blocks(stream)
        except LandingError as error:
            self.failure = error
            raise
        except OSError as error:
            self.failure = LandingError(f"{self.path} cannot be read ({error.strerror}): check its permissions.")
            raise self.failure from error

    def texts(self, rows: np.ndarray) -> list[str]:
        """Return the text of records by their number (int64, ascending), read from the file once more."""
        found: list[str] = []
        first_rows = np.array([block.first_row for block in self._blocks], dtype=np.int64)
        bounds = np.append(np.searchsorted(rows, first_rows), len(rows))
        with self.path.open("rb") as stream:
            for block, first, last in zip(self._blocks, bounds[:-1], bounds[1:], strict=True):
                if first == last:
                    continue
                stream.seek(block.offset)
                content = stream.read(block.length)
                records = self._split(content, is_last=True)
                chosen = rows[first:last] - block.first_row
                starts, ends = records.starts[chosen].tolist(), records.ends[chosen].tolist()
                found += [_readable(content[start:end]) for start, end in zip(starts, ends, strict=True)]
        return found

    # -- inside ---------------------------------------------------------------------------------------------------

    def _read_header(self) -> None:
        try:
            with self.path.open("rb") as stream:
                beginning = stream.read(LONGEST_HEADER)
        except OSError as error:
            raise LandingError(f"{self.path} cannot be read ({error.strerror}): check its permissions.") from error
        skipped = len(BYTE_ORDER_MARK) if beginning.startswith(BYTE_ORDER_MARK) else 0
        line = beginning[skipped:].split(b"\n", 1)[0].split(b"\r", 1)[0]
        rest = beginning[skipped + len(line) :]
        end = len(rest) - len(rest.lstrip(b"\r")) if rest.startswith(b"\r\r\n") or rest.startswith(b"\r\n") else 0
        self._data_offset = skipped + len(line) + end + (1 if rest else 0)
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise LandingError(f"{self.path} is not UTF-8 (line 1): save it in that encoding.") from error
        self.names = [name.strip() for name in next(csv.reader([text]), [])]
        doubled = sorted({name for name in self.names if self.names.count(name) > 1})
        if doubled:
            raise LandingError(f"{self.path} has two columns named {doubled[0]}: rename or remove one of them.")

    def _read_blocks(self, stream: BinaryIO) -> Iterator[pa.RecordBatch]:
        size = self.path.stat().st_size
        offset, line, pending = self._data_offset, 2, b""
        stream.seek(offset)
        while offset < size:
            pending += stream.read(BLOCK_BYTES)
            is_last = offset + len(pending) >= size
            first_row = self.row_count
            batch = self._read_simple(pending, line, is_last)
            if batch is not None:
                consumed = len(pending) if is_last else pending.rindex(b"\n") + 1
                lines = batch.num_rows
                self.row_count += batch.num_rows
            else:
                self._refuse_other_encodings(pending, line, is_last)
                records = self._split(pending, is_last)
                consumed, lines = records.consumed, records.line_count
                if consumed == 0 and len(pending) > 2 * BLOCK_BYTES:
                    raise LandingError(f"{self.path} has no line end after line {line}: is it a CSV at all?")
                batch = self._read_records(pending[:consumed], records, line)
            self._blocks.append(Block(offset, consumed, first_row))
            if batch.num_rows:
                yield batch
            pending, offset, line = pending[consumed:], offset + consumed, line + lines

    def _read_simple(self, block: bytes, line: int, is_last: bool) -> pa.RecordBatch | None:
        """Read a block in which a line is a record: no quotes, no odd line ends, no row of another length.

        Returns None where the block is not as simple as that.
        """
        if any(sign in block for sign in NOT_SIMPLE) or block.count(b"\r") != block.count(b"\r\n"):
            return None
        if not is_last:
            block = block[: block.rfind(b"\n") + 1]
        if not block.strip() or block[:1] in b"\r\n":
            return None
        try:
            table = self._parse(block)
        except pa.ArrowInvalid:  # a row of another length, or bytes that are no UTF-8
            return None
        numbers = np.arange(table.num_rows, dtype=np.int64)
        return self._numbered(table, numbers + self.row_count, numbers + line)

    def _read_records(self, block: bytes, records: Records, line: int) -> pa.RecordBatch:
        faults = records.faults.copy()
        faults[(faults == WHOLE) & (records.fields != len(self.names))] = WRONG_FIELD_COUNT
        if b"\0" in block:
            positions = np.flatnonzero(np.frombuffer(block, np.uint8) == 0)
            holders = np.searchsorted(records.starts, positions, side="right") - 1
            faults[holders[(holders >= 0)]] = NUL_BYTE
        for index in np.flatnonzero(faults).tolist():
            reason = REASONS.get(int(faults[index]))
            self.broken.append(
                BrokenRecord(
                    self.row_count + index,
                    line + int(records.lines[index]),
                    reason or f"the row has {records.fields[index]} values, the header {len(self.names)}",
                    _readable(block[records.starts[index] : records.ends[index]]),
                )
            )
        good = np.flatnonzero(faults == WHOLE)
        rows, lines = good + self.row_count, records.lines[good] + line
        self.row_count += len(faults)
        if len(good) == 0:
            return _empty(self.schema)
        if len(good) < len(faults):
            block = _only(block, records, good)
        table = self._parse(block)
        if table.num_rows != len(good):
            raise LandingError(f"{self.path} cannot be split into rows after line {line}: write it as RFC 4180 says.")
        return self._numbered(table, rows, lines)

    def _parse(self, block: bytes) -> pa.Table:
        return arrow_csv.read_csv(
            pa.py_buffer(block),
            arrow_csv.ReadOptions(column_names=self.names, block_size=max(len(block) // 2, 1 << 20)),
            arrow_csv.ParseOptions(newlines_in_values=b'"' in block),
            arrow_csv.ConvertOptions(
                column_types={name: pa.string() for name in self.columns}, include_columns=self.columns
            ),
        )

    def _numbered(self, table: pa.Table, rows: np.ndarray, lines: np.ndarray) -> pa.RecordBatch:
        table = table.append_column("_row", pa.array(rows)).append_column("_position", pa.array(lines))
        return table.combine_chunks().to_batches()[0]

    def _split(self, block: bytes, is_last: bool) -> Records:
        return split_records(
            np.frombuffer(block, np.uint8), len(self.names), is_last=is_last, look_complete=self._look_complete
        )

    def _look_complete(self, lines: list[bytes]) -> np.ndarray:
        return self.looks_complete(self._parse(b"\n".join(lines) + b"\n"))

    def _refuse_other_encodings(self, block: bytes, line: int, is_last: bool) -> None:
        try:
            codecs.utf_8_decode(block, "strict", is_last)
        except UnicodeDecodeError as error:
            number = line + block[: error.start].count(b"\n")
            raise LandingError(f"{self.path} is not UTF-8 (line {number}): save it in that encoding.") from error


def _only(block: bytes, records: Records, chosen: np.ndarray) -> bytes:
    """Return the chosen records, a line feed after each."""
    starts, ends = records.starts[chosen].tolist(), records.ends[chosen].tolist()
    return b"\n".join([block[start:end] for start, end in zip(starts, ends, strict=True)]) + b"\n"


def _readable(text: bytes) -> str:
    """Text as Postgres can keep it: a NUL byte is shown by its picture."""
    return text.decode("utf-8", "replace").replace("\0", "\N{SYMBOL FOR NULL}")


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], entry.type) for entry in schema], schema=schema)
