"""Two ways to look into the warehouse: a shell for a person, CSV for a program."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
from psycopg.pq import ExecStatus

from local.errors import LocalError
from local.postgres import EmbeddedPostgres
from warehouse.settings import connection_parameters

__all__ = ["open_shell", "print_as_csv"]

PSQL_VARIABLES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
}


def print_as_csv(warehouse_url: str, statement: str) -> None:
    """Run SQL in one transaction and print the last result as CSV with a header, values as Postgres writes them.

    Raises:
        LocalError: the warehouse cannot be reached, or it refuses the statement; nothing has changed then.
    """
    with _connect(warehouse_url) as connection:
        result = connection.pgconn.exec_(statement.encode())
        if result.status == ExecStatus.TUPLES_OK:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            columns = range(result.nfields)
            writer.writerow([(result.fname(column) or b"").decode() for column in columns])
            for row in range(result.ntuples):
                values = (result.get_value(row, column) for column in columns)
                writer.writerow(["" if value is None else value.decode() for value in values])
        elif result.status in (ExecStatus.COMMAND_OK, ExecStatus.EMPTY_QUERY):
            print((result.command_status or b"").decode(), file=sys.stderr)
        else:
            raise LocalError(result.get_error_message().strip())


def open_shell(warehouse_url: str, postgres: EmbeddedPostgres) -> int:
    """Be psql on the warehouse until the person ends it; return its exit code."""
    with _connect(warehouse_url):
        pass
    known = connection_parameters(warehouse_url)
    variables = {variable: str(known[name]) for name, variable in PSQL_VARIABLES.items() if name in known}
    program = Path(shutil.which("psql") or postgres.binary("psql"))
    return subprocess.run([str(program), "--no-psqlrc"], check=False, env={**os.environ, **variables}).returncode


def _connect(warehouse_url: str) -> psycopg.Connection[tuple[object, ...]]:
    connection_parameters(warehouse_url)
    try:
        return psycopg.connect(warehouse_url, autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as error:
        raise LocalError(
            f"The warehouse does not answer ({str(error).strip().splitlines()[0]}): `make run` starts it."
        ) from error
