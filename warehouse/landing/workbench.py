"""The DuckDB session in which a source is read, checked and compared, with the warehouse attached as `pg`."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import duckdb_extensions
import pyarrow as pa
import pyarrow.compute as pc

from warehouse.contract import TableContract
from warehouse.door import Warehouse, WarehouseError
from warehouse.landing.checks import DUCKDB_TYPES, TableChecks, identifier, literal
from warehouse.landing.csv_reader import CsvFile
from warehouse.landing.reports import LandingError
from warehouse.landing.source_files import SourceTable

__all__ = ["Workbench", "open_workbench"]

# Code of a row that repeats another one exactly.
REPEATED = 0

# So many keys are looked up one by one in the index of what landed.
FEW_KEYS = 20_000


@contextmanager
def open_workbench(warehouse: Warehouse) -> Iterator[Workbench]:
    """Open a session whose big tables may spill to a temporary folder, and close it whatever happens.

    Raises:
        WarehouseError: the warehouse does not answer, or no longer.
        LandingError: DuckDB, or Postgres behind it, refused something; what was not committed is undone.
    """
    duckdb_extensions.import_extension("postgres_scanner")
    with TemporaryDirectory(prefix="rekindle-landing-") as folder:
        connection = duckdb.connect()
        try:
            connection.execute("load postgres_scanner")
            connection.execute(f"set temp_directory = {literal(folder)}")
            connection.execute("set timezone = 'UTC'")
            connection.execute("set preserve_insertion_order = false")
            connection.execute("set enable_progress_bar = false")
            warehouse.connect().close()  # an address that does not answer stops here, with a sentence
            connection.execute(f"attach {literal(warehouse.url)} as pg (type postgres)")
            yield Workbench(connection)
        except duckdb.Error as error:
            # Not chained: DuckDB names the whole address, password and all.
            raise _in_words(error, warehouse) from None
        finally:
            _close(connection)


class Workbench:
    """Loads the files of a table into `checked_<table>` and decides there what becomes of each row.

    `checked_<table>` has the contract's columns and `_batch_id`. `_row` (ascending in the order received; negative for
    rows that wait in quarantine), `_file` and `_position` say where a row came from. `_problem` is NULL for a good row,
    0 for an exact repetition, otherwise the code of what is wrong.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        # By table and number of the file: what was read, and the number of its first row.
        self.csv_files: dict[tuple[str, int], CsvFile] = {}
        self.first_rows: dict[tuple[str, int], int] = {}

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        return self.connection.execute(statement).fetchall()

    def scalar(self, statement: str) -> Any:
        """Return the only value of a query."""
        return self.execute(statement)[0][0]

    def in_warehouse(self, statement: str) -> None:
        """Run a statement in Postgres, in the transaction that is open there."""
        self.connection.execute(f"call postgres_execute('pg', {literal(statement)})")

    def scalar_from_warehouse(self, query: str) -> Any:
        """Return the only value of a query that Postgres answers."""
        return self.scalar(f"select * from postgres_query('pg', {literal(query)})")

    # -- loading --------------------------------------------------------------------------------------------------

    def prepare(self, table: TableContract) -> None:
        """Create an empty `checked_<table>`."""
        columns = ", ".join(f"{column.name} {DUCKDB_TYPES[column.type]}" for column in table.columns)
        self.execute(
            f"create table checked_{table.name} ({columns}, _batch_id varchar, _row bigint, _file smallint, "
            "_position bigint, _problem smallint)"
        )

    def load(self, source: SourceTable, checks: TableChecks, batch_id: str) -> tuple[int, list[str]]:
        """Read the files of a table into `checked_<table>`, which is prepared.

        Returns:
            Rows received, and warnings.

        Raises:
            LandingError: a file cannot be read or lacks a required column.
        """
        table = source.contract
        received, warnings = 0, []
        for number, file in enumerate(source.files):
            self.first_rows[table.name, number] = received
            read = self._load_csv if source.format == "csv" else self._load_parquet
            names, rows = read(file, number, checks, batch_id, received)
            unknown = [name for name in names if name not in table.column_names]
            if unknown:
                warnings.append(f"{file.name}: unknown columns were ignored ({', '.join(unknown)}).")
            received += rows
        return received, warnings

    def load_waiting(self, checks: TableChecks) -> int:
        """Bring back the rows of a table that wait in quarantine for something to land; return their number."""
        table = checks.table
        query = (
            "select row_hash, copy, batch_id, row_offset, cast(fields as text) as fields from quarantine.rows "
            f"where table_name = {literal(table.name)} and fields is not null and released_by_batch is null"
        )
        self.execute(
            f"create table waiting_{table.name} as select *, "
            "row_number() over (order by batch_id, row_offset, row_hash, copy) - 1000000000000 as _row "
            f"from postgres_query('pg', {literal(query)})"
        )
        count = int(self.scalar(f"select count(*) from waiting_{table.name}"))
        if count:
            fields = ", ".join(f"fields->>{literal('$.' + name)} as {name}" for name in table.column_names)
            self._check(
                checks,
                f"(select {fields}, batch_id as _batch_id, _row, -1 as _file, 0 as _position "
                f"from waiting_{table.name})",
                dict.fromkeys(table.column_names, "VARCHAR"),
                "_batch_id",
            )
        return count

    def _load_csv(
        self, file: Path, number: int, checks: TableChecks, batch_id: str, first_row: int
    ) -> tuple[list[str], int]:
        content = CsvFile(file, checks.table.column_names, lambda rows: _looks_complete(rows, checks.table))
        self.csv_files[checks.table.name, number] = content
        if file.stat().st_size == 0 and not checks.table.required:
            return [], 0
        _refuse_missing_columns(file, content.names, checks.table)
        reader = pa.RecordBatchReader.from_batches(content.schema, content.batches())
        self.connection.register("arriving", reader)
        try:
            names = [*content.columns, "_position"]
            self._check(
                checks,
                f"(select {', '.join(map(identifier, names))}, _row + {first_row} as _row, {number} as _file "
                "from arriving)",
                dict.fromkeys(content.columns, "VARCHAR"),
                literal(batch_id),
            )
        except duckdb.Error as error:
            if content.failure is not None:
                raise content.failure from error
            raise LandingError(f"{file} cannot be read as CSV ({_first_line(error)}).") from error
        finally:
            self.connection.unregister("arriving")
        return content.names, content.row_count

    def _load_parquet(
        self, file: Path, number: int, checks: TableChecks, batch_id: str, first_row: int
    ) -> tuple[list[str], int]:
        scan = f"read_parquet({literal(str(file))}, file_row_number = true)"
        try:
            kinds = {name: kind for name, kind, *_ in self.execute(f"describe select * from {scan}")}
            kinds.pop("file_row_number")
            _refuse_missing_columns(file, list(kinds), checks.table)
            received = {name: kind for name, kind in kinds.items() if name in checks.table.column_names}
            names = [*(identifier(name) for name in received), f"file_row_number + {first_row} as _row"]
            self._check(
                checks,
                f"(select {', '.join(names)}, {number} as _file, file_row_number + 1 as _position from {scan})",
                received,
                literal(batch_id),
            )
            return list(kinds), int(self.scalar(f"select count(*) from {scan}"))
        except duckdb.Error as error:
            raise LandingError(
                f"{file} cannot be read as Parquet ({_first_line(error)}): write the file once more."
            ) from error

    def _check(self, checks: TableChecks, source: str, received: dict[str, str], batch_id: str) -> None:
        """Type and check the rows of `source` and add them to `checked_<table>`."""
        table = checks.table
        values = ", ".join(f"value_{name} as {name}" for name in table.column_names)
        self.execute(
            f"insert into checked_{table.name} select {values}, {batch_id} as _batch_id, _row, _file, _position, "
            f"{checks.code} as _problem from "
            f"(select {', '.join(checks.typed_columns(received))}, _row, _file, _position, "
            f"{'_batch_id' if batch_id == '_batch_id' else 'null as _batch_id'} from {source})"
        )

    # -- deciding -------------------------------------------------------------------------------------------------

    def mark_dangling(self, checks: TableChecks) -> None:
        """Mark good rows that refer to a key which neither landed nor is among the good rows of this landing."""
        for column, target, code in checks.references:
            self.execute(
                f"update checked_{checks.table.name} set _problem = {code} where _problem is null "
                f"and {column} is not null and {column} not in (select id from known_{target})"
            )

    def remember_keys(self, table: TableContract) -> None:
        """Keep the keys of a table, landed and new, for the tables that refer to it."""
        (key,) = table.key
        self.execute(
            f"create table known_{table.name} as select {key} as id from pg.raw.{table.name} "
            f"union select {key} from checked_{table.name} where _problem is null"
        )

    def mark_repeated(self, checks: TableChecks, *, has_landed: bool) -> None:
        """Mark good rows whose key came before: exact repetitions, and conflicts, in which the first row wins."""
        name, key = f"checked_{checks.table.name}", ", ".join(checks.table.key)
        columns = checks.table.column_names
        same = " and ".join(f"later.{column} is not distinct from first.{column}" for column in columns)
        mark = f"_problem = case when {same} then {REPEATED} else {checks.conflict} end"
        on_key = " and ".join(f"later.{column} = first.{column}" for column in checks.table.key)
        # Most keys come once: find those that do not by a hash first, as that takes a fraction of the memory.
        self.execute(
            f"create temp table doubled as select hash({key}) as key_hash from {name} where _problem is null "
            "group by key_hash having count(*) > 1"
        )
        if self.scalar("select count(*) from doubled"):
            self.execute(
                f"create temp table firsts as select *, row_number() over (partition by {key} order by _row) as copy "
                f"from {name} where _problem is null and hash({key}) in (select key_hash from doubled)"
            )
            self.execute(
                f"update {name} as later set {mark} from firsts as first "
                f"where first.copy = 1 and {on_key} and later._row > first._row and later._problem is null"
            )
            self.execute("drop table firsts")
        self.execute("drop table doubled")
        if has_landed:
            self._fetch_landed(checks.table)
            self.execute(
                f"update {name} as later set {mark} from landed as first where {on_key} and later._problem is null"
            )
            self.execute("drop table landed")

    def _fetch_landed(self, table: TableContract) -> None:
        """Fetch the landed rows that may share a key with a good row: by key when those are few, otherwise all."""
        name, columns = f"checked_{table.name}", ", ".join(table.column_names)
        count = self.scalar(f"select count(*) from {name} where _problem is null")
        if count > FEW_KEYS:
            self.execute(f"create temp table landed as select {columns} from pg.raw.{table.name}")
            return
        keys = self.execute(f"select {', '.join(table.key)} from {name} where _problem is null")
        arrays = [f"array[{', '.join(literal(key[part]) for key in keys)}]::text[]" for part in range(len(table.key))]
        query = (
            f"select {columns} from raw.{table.name} where ({', '.join(table.key)}) in "
            f"(select * from unnest({', '.join(arrays)}))"
        )
        typed = ", ".join(
            f"cast({column.name} as {DUCKDB_TYPES[column.type]}) as {column.name}" for column in table.columns
        )
        self.execute(f"create temp table landed as select {typed} from postgres_query('pg', {literal(query)})")


def _refuse_missing_columns(file: Path, names: list[str], table: TableContract) -> None:
    if not names:
        raise LandingError(f"{file} is empty: the table {table.name} needs a header and rows.")
    needed = [column.name for column in table.columns if not column.nullable and column.name not in names]
    if needed:
        found = ", ".join(names[:30])
        advice = " Is it separated by something else than commas?" if len(names) == 1 and len(found) > 40 else ""
        plural = "s" if len(needed) > 1 else ""
        raise LandingError(
            f"{file} has no column{plural} {', '.join(needed)}, which the source contract requires; "
            f"its columns are {found}.{advice}"
        )


def _looks_complete(rows: pa.Table, table: TableContract) -> Any:
    """Tell of split lines whether they look like rows: nothing required is missing, times and numbers look like it."""
    verdict = pa.array([True] * rows.num_rows)
    for column in table.columns:
        if column.name in rows.column_names and not column.nullable:
            shape = {"timestamptz": r"^\d{4}-\d", "numeric": r"^\s*[-+.\d]", "integer": r"^\s*[-+.\d]"}
            fits = pc.match_substring_regex(rows[column.name], shape.get(column.type, "."))
            verdict = pc.and_(verdict, pc.fill_null(fits, False).combine_chunks())
    return verdict.to_numpy(zero_copy_only=False)


def _in_words(error: duckdb.Error, warehouse: Warehouse) -> WarehouseError | LandingError:
    """What a failure of the session was, without the password of the address.

    A connection that is lost while Postgres commits does not tell whether it did, so neither is claimed.
    """
    try:
        warehouse.connect().close()
    except WarehouseError as gone:
        return WarehouseError(f"{gone} Nothing is there by halves: run it again when the warehouse answers.")
    reason = _first_line(error).replace(warehouse.url, "the warehouse")
    outcome = "whether all of it was landed is not known" if '"COMMIT"' in reason else "nothing was landed"
    return LandingError(f"The landing broke off ({reason}): {outcome}. Run it again.")


def _close(connection: duckdb.DuckDBPyConnection) -> None:
    """Close a session, or leave one behind that cannot be closed.

    A connection that breaks amid the rows of a COPY is an internal error to DuckDB, after which it takes no statement,
    no rollback either; closing would send that rollback into the broken connection and abort the whole process.
    """
    try:
        connection.execute("select 1")
    except duckdb.FatalException:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
    else:
        connection.close()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
