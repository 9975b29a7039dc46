"""The only door to Postgres: connections, transactions, frames and Arrow in and out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql
from pyarrow import csv

from warehouse.binary_rows import HEADER, TRAILER, binary_rows
from warehouse.settings import connection_parameters

__all__ = ["Warehouse", "WarehouseError", "relation"]

Parameters = Mapping[str, Any] | Sequence[Any] | None

# What every session is set to. COPY writes dates as the session does, and they are read as ISO 8601. All three are
# settings that a pooler such as PgBouncer keeps for each client; others it would refuse.
SESSION = "-c timezone=UTC -c datestyle=ISO,YMD -c standard_conforming_strings=on"

# Rows that are turned into COPY text or messages at a time: bounds the memory of a write.
ROWS_PER_WRITE = 65_536

# Arrow types by Postgres type (pg_type.oid); everything else is read as text.
ARROW_TYPES = {
    16: pa.bool_(),
    20: pa.int64(),
    21: pa.int64(),
    23: pa.int64(),
    700: pa.float64(),
    701: pa.float64(),
    1082: pa.date32(),
    1114: pa.timestamp("us"),
    1184: pa.timestamp("us", tz="UTC"),
    # numeric: exact in Postgres, where money is added up; an estimate needs no more than a float.
    1700: pa.float64(),
}


class WarehouseError(RuntimeError):
    """The warehouse cannot be reached or does not hold what it should; the message says what to do."""


def relation(name: str) -> sql.Identifier:
    """Quote a relation that is written as `schema.table`."""
    schema, _, table = name.partition(".")
    if not table:
        raise WarehouseError(f"{name!r} is no relation: write it as schema.table.")
    return sql.Identifier(schema, table)


class Warehouse:
    """A Postgres warehouse at `url` (postgresql://user:password@host:port/database).

    SQL takes psycopg's parameters, `%s` or `%(name)s`; without parameters a `%` is just a `%`. Every session is in
    UTC and writes dates as ISO 8601 does, whatever the database or the role is set to. Nothing is kept open between
    calls, so an instance may be shared between threads and forked.
    """

    def __init__(self, url: str) -> None:
        # An empty or broken address stops here, with a sentence. What it asks of the session holds beside what we ask.
        self._options = connection_parameters(url).get("options", "")
        self.url = url

    def connect(self) -> psycopg.Connection[Any]:
        """Open a connection of your own, autocommit off; the caller closes it."""
        try:
            return psycopg.connect(
                self.url, connect_timeout=10, application_name="rekindle", options=f"{self._options} {SESSION}"
            )
        except psycopg.OperationalError as error:
            parameters = connection_parameters(self.url)
            place = f"{parameters.get('host', 'localhost')}:{parameters.get('port', 5432)}"
            reason = " ".join(str(error).split())
            raise WarehouseError(
                f"The warehouse at {place} cannot be reached ({reason}): type `make status`, or check WAREHOUSE_URL."
            ) from error

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection[Any]]:
        """Give a connection whose work is committed as a whole, or not at all when the block raises."""
        with self.connect() as connection:  # psycopg commits, rolls back and closes
            yield connection

    def execute(self, statement: str, parameters: Parameters = None) -> int:
        """Run one statement in a transaction of its own and return how many rows it touched (-1 where unknown)."""
        with self.transaction() as connection:
            return connection.execute(_trusted(statement), parameters).rowcount

    def scalar(self, statement: str, parameters: Parameters = None) -> Any:
        """Return the first column of the first row, or None where there is no row."""
        with self.transaction() as connection:
            row = connection.execute(_trusted(statement), parameters).fetchone()
        return None if row is None else row[0]

    def read_arrow(self, statement: str, parameters: Parameters = None) -> pa.Table:
        """Read the rows of a query: integers as int64, float8 and numeric as float64, timestamptz as UTC microseconds,
        everything that Arrow has no word for (json, arrays, uuid) as text.
        """
        with self.transaction() as connection:
            return read_arrow(connection, statement, parameters)

    def read_frame(self, statement: str, parameters: Parameters = None) -> pd.DataFrame:
        """Read the rows of a query as a frame.

        Integers and booleans that hold NULLs become float64 and `boolean`; dates become datetime64 at midnight; text
        is pandas' `str`, with NULL as missing.
        """
        return as_frame(self.read_arrow(statement, parameters))

    def copy_frame(self, connection: psycopg.Connection[Any], table: str, frame: pd.DataFrame | pa.Table) -> int:
        """Append rows to `schema.table`, column by name, through COPY; return their number.

        An Arrow table of plain types is sent in binary, everything else as text.

        Missing values and NaN become NULL, dicts and lists become JSON. Columns that the frame does not have get
        their default.
        """
        if not isinstance(frame, pa.Table):
            return _copy_as_text(connection, table, _as_arrow(frame))
        kinds = _kinds(connection, table)
        for start in range(0, frame.num_rows, ROWS_PER_WRITE):
            rows = frame.slice(start, ROWS_PER_WRITE)
            binary = binary_rows(rows, kinds)
            if binary is None:
                _copy_as_text(connection, table, _as_arrow(rows))
                continue
            names, messages = binary
            with connection.cursor() as cursor, cursor.copy(_copy_statement(table, names, "binary")) as copy:
                copy.write(HEADER)
                copy.write(memoryview(messages))
                copy.write(TRAILER)
        return int(frame.num_rows)

    @contextmanager
    def replacing(
        self, connection: psycopg.Connection[Any], table: str, key: Mapping[str, Any]
    ) -> Iterator[Callable[[pd.DataFrame | pa.Table], int]]:
        """Delete the rows of `schema.table` whose columns equal `key`, and give what appends frames in their place.

        Where the table holds nothing else it is emptied, and its primary key is built when the block ends: Postgres
        then keeps no log of the rows and no index row by row, which takes half of the time. Readers wait meanwhile.
        """
        name = relation(table)
        # Less or greater, which an index of the key answers at once, where it would be passed through for what differs.
        apart = [
            sql.SQL("exists (select from {} where {} {} {})").format(
                name, sql.Identifier(column), sql.SQL(sign), sql.Placeholder()
            )
            for column in key
            for sign in "<>"
        ]
        others = sql.SQL("select {}").format(sql.SQL(" or ").join(apart))

        def holds_others() -> bool:
            row = connection.execute(others, [value for value in key.values() for _ in "<>"]).fetchone()
            return row is None or bool(row[0])

        keys: list[tuple[str, str]] = []
        is_emptied = _is_owned(connection, table) and not holds_others()
        if is_emptied:
            connection.execute(sql.SQL("lock table {} in access exclusive mode").format(name))
            # Somebody else may have written until the lock was there.
            is_emptied = not holds_others()
        if is_emptied:
            keys = connection.execute(
                "select conname::text, pg_get_constraintdef(oid) from pg_constraint"
                " where conrelid = %s::regclass and contype = 'p'",
                (table,),
            ).fetchall()
            connection.execute(sql.SQL("truncate {}").format(name))
            for constraint, _ in keys:
                connection.execute(
                    sql.SQL("alter table {} drop constraint {}").format(name, sql.Identifier(constraint))
                )
        else:
            connection.execute(sql.SQL("delete from {} where {}").format(name, _equal(key)), list(key.values()))
        yield lambda frame: self.copy_frame(connection, table, frame)
        # Several processes would take more processor time together, and others have work for it.
        connection.execute("set local max_parallel_maintenance_workers = 0")
        for constraint, definition in keys:
            connection.execute(
                sql.SQL("alter table {} add constraint {} {}").format(
                    name, sql.Identifier(constraint), _trusted(definition)
                )
            )

    def replace_rows(
        self,
        connection: psycopg.Connection[Any],
        table: str,
        frame: pd.DataFrame | pa.Table,
        key: Mapping[str, Any],
    ) -> int:
        """Delete the rows of `schema.table` whose columns equal `key`, append `frame`, and return its rows.

        Both happen in the transaction of `connection`, so that a rerun replaces what it wrote before.
        """
        statement = sql.SQL("delete from {} where {}").format(relation(table), _equal(key))
        connection.execute(statement, list(key.values()))
        return self.copy_frame(connection, table, frame)


def read_arrow(connection: psycopg.Connection[Any], statement: str, parameters: Parameters = None) -> pa.Table:
    """Read the rows of a query in the transaction of `connection`; types as in `Warehouse.read_arrow`."""
    query = statement.strip().rstrip(";")
    with connection.cursor() as cursor:
        # A role may be set to 0, and figures would lose their last bits. Not in SESSION: poolers refuse it there.
        cursor.execute("set local extra_float_digits = 1")
        cursor.execute(_trusted(f"select * from (\n{query}\n) as described limit 0"), parameters)
        columns = {column.name: column.type_code for column in cursor.description or ()}
        if len(columns) != len(cursor.description or ()):
            raise WarehouseError("The query gives two columns of the same name: rename one of them.")
        sink = pa.BufferOutputStream()
        with cursor.copy(_trusted(f"copy (\n{query}\n) to stdout with (format csv)"), parameters) as copy:
            for block in copy:
                sink.write(block)
    types = {name: ARROW_TYPES.get(code, pa.string()) for name, code in columns.items()}
    content = sink.getvalue()
    if content.size == 0:
        return pa.schema(list(types.items())).empty_table()
    return csv.read_csv(
        pa.BufferReader(content),
        csv.ReadOptions(column_names=list(types)),
        csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        csv.ConvertOptions(
            column_types=types,
            # COPY writes NULL as nothing and an empty text as "".
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )


def as_frame(table: pa.Table) -> pd.DataFrame:
    """Turn an Arrow table into a frame, with the types that `Warehouse.read_frame` promises."""
    for position, column in enumerate(table.schema):
        if pa.types.is_date(column.type):
            dates = table.column(position).cast(pa.timestamp("us"))
            table = table.set_column(position, column.name, dates)
    frame = table.to_pandas()
    for column in table.schema:
        if pa.types.is_boolean(column.type) and table.column(column.name).null_count:
            frame[column.name] = frame[column.name].astype("boolean")
    return frame


def _copy_statement(table: str, names: Sequence[str], form: str) -> sql.Composed:
    return sql.SQL("copy {} ({}) from stdin with (format {})").format(
        relation(table), sql.SQL(", ").join(map(sql.Identifier, names)), sql.SQL(form)
    )


def _copy_as_text(connection: psycopg.Connection[Any], table: str, rows: pa.Table) -> int:
    options = csv.WriteOptions(include_header=False, quoting_style="all_valid")
    statement = _copy_statement(table, rows.column_names, "csv")
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for batch in rows.to_batches(max_chunksize=ROWS_PER_WRITE):
            sink = pa.BufferOutputStream()
            csv.write_csv(batch, sink, options)
            copy.write(memoryview(sink.getvalue()))
    return int(rows.num_rows)


def _kinds(connection: psycopg.Connection[Any], table: str) -> dict[str, str]:
    """The Postgres type of each column of a table, without its length or precision."""
    return dict(
        connection.execute(
            "select attname::text, atttypid::regtype::text from pg_attribute"
            " where attrelid = %s::regclass and attnum > 0 and not attisdropped",
            (table,),
        ).fetchall()
    )


def _as_arrow(frame: pd.DataFrame | pa.Table) -> pa.Table:
    """Bring a frame to Arrow types that COPY's text can carry."""
    if isinstance(frame, pd.DataFrame):
        documents = {
            name: [json.dumps(value) if isinstance(value, dict | list) else value for value in frame[name]]
            for name in frame.columns
            if frame[name].dtype == object and frame[name].map(lambda value: isinstance(value, dict | list)).any()
        }
        frame = pa.Table.from_pandas(frame.assign(**documents), preserve_index=False)
    for position, column in enumerate(frame.schema):
        values = frame.column(position)
        if pa.types.is_floating(column.type):
            # NaN is pandas' word for missing; in Postgres it would be a number above all others.
            frame = frame.set_column(position, column.name, pc.if_else(pc.is_nan(values), None, values))
        elif pa.types.is_timestamp(column.type) and column.type.unit == "ns":
            cast_values = values.cast(pa.timestamp("us", tz=column.type.tz), safe=False)
            frame = frame.set_column(position, column.name, cast_values)
        elif pa.types.is_dictionary(column.type):
            frame = frame.set_column(position, column.name, values.cast(column.type.value_type))
        elif pa.types.is_nested(column.type):
            texts = pa.array(
                [None if value is None else json.dumps(value) for value in values.to_pylist()], pa.string()
            )
            frame = frame.set_column(position, column.name, texts)
    return frame


def _equal(key: Mapping[str, Any]) -> sql.Composed:
    """Condition that columns equal the values of a key, in its order."""
    return sql.SQL(" and ").join(sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder()) for name in key)


def _is_owned(connection: psycopg.Connection[Any], table: str) -> bool:
    """Whether this login may change what the table is."""
    row = connection.execute(
        "select pg_has_role(relowner, 'usage') from pg_class where oid = %s::regclass", (table,)
    ).fetchone()
    return row is not None and bool(row[0])


def _trusted(statement: str) -> sql.SQL:
    """Mark a statement as ours: values reach it as parameters only."""
    return sql.SQL(statement)
