"""What `DATA` and `AS_OF` mean: a sample, a folder or a schema, and the date the chain is run for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from local.errors import LocalError
from local.installation import DEFAULT_SAMPLE
from local.samples import find_sample, sample_names
from warehouse.settings import SCHEMA_PREFIX, SettingsError, SourceSchema, find_source_schema

__all__ = ["describe_source", "find_as_of_date", "find_source"]


def find_source(data: str, folders: Sequence[Path], warehouse_url: str = "") -> str:
    """Return the name of a sample, the schema, or the absolute path of the folder that a person means by `data`.

    A relative path is looked for below each of `folders` in turn. A schema is `schema:<name>`, in the warehouse of
    the person's own, or `postgresql://...?schema=<name>`.

    Raises:
        LocalError: it is none of these.
    """
    if not data:
        return DEFAULT_SAMPLE
    try:
        if find_source_schema(data, warehouse_url) is not None:
            return data
    except SettingsError as error:
        if data.startswith(SCHEMA_PREFIX) and not warehouse_url:
            raise LocalError(
                f"DATA={data} is a schema of your own warehouse: set WAREHOUSE_URL=postgresql://... to say where it is."
            ) from error
        raise LocalError(f"DATA does not say where the data is. {error}") from error
    if data in sample_names():
        return data
    for folder in folders:
        candidate = (folder / Path(data).expanduser()).resolve()
        if candidate.is_dir():
            return str(candidate)
    raise LocalError(f"DATA={data} is neither a folder nor a sample; the samples are {', '.join(sample_names())}.")


def find_as_of_date(as_of: str, source: str, warehouse_url: str = "") -> date:
    """Return the date that a person means by `as_of`; without one, the first date that knows all the data.

    For a sample that is its own default, otherwise the day after the last session, but never later than today.

    Raises:
        LocalError: `as_of` is no date or lies in the future, or the source has no sessions to find one by.
    """
    today = datetime.now(tz=UTC).date()
    if as_of:
        try:
            wanted = date.fromisoformat(as_of.strip())
        except ValueError as error:
            raise LocalError(f"AS_OF={as_of} is no date: write it as 2018-01-02.") from error
        if wanted > today:
            raise LocalError(f"AS_OF={as_of} lies in the future: the latest possible date is {today}.")
        return wanted
    if source in sample_names():
        return find_sample(source).DEFAULT_AS_OF
    schema = find_source_schema(source, warehouse_url)
    last = _last_session(Path(source), today) if schema is None else _last_session_of_schema(schema, today)
    return min(last + timedelta(days=1), today)


def describe_source(source: str, warehouse_url: str = "") -> str:
    """Return what a person may read of a source: no user and no password."""
    schema = find_source_schema(source, warehouse_url)
    return source if schema is None else schema.title


def _last_session_of_schema(schema: SourceSchema, today: date) -> date:
    """Return the day of the last session up to `today` in a schema."""
    query = sql.SQL("select cast(max(started_at) at time zone 'UTC' as date) from {} where started_at < %s").format(
        sql.Identifier(schema.schema, "sessions")
    )
    try:
        with psycopg.connect(schema.url, connect_timeout=10) as connection:
            row = connection.execute(query, (today + timedelta(days=1),)).fetchone()
    except psycopg.Error as error:
        raise LocalError(
            f"The sessions in {schema.title} cannot be read to find the last one"
            f" ({str(error).strip().splitlines()[0]}): mend that, or say AS_OF=<date>."
        ) from error
    if row is None or row[0] is None:
        raise LocalError(f"There is no session up to today in {schema.title}: say AS_OF=<date>.")
    last: date = row[0]
    return last


def _last_session(folder: Path, today: date) -> date:
    """Return the day of the last session up to `today`; what is wrong with single rows is for landing to say."""
    import duckdb

    readers = {
        "sessions.parquet": "read_parquet(?)",
        "sessions.csv": "read_csv(?, all_varchar=true, ignore_errors=true)",
    }
    for name, reader in readers.items():
        file = folder / name
        if not file.is_file():
            continue
        try:
            with duckdb.connect() as connection:
                row = connection.execute(
                    "select cast(make_timestamp(max(moment)) as date) from"
                    " (select epoch_us(try_cast(cast(started_at as varchar) as timestamptz)) as moment"
                    f" from {reader}) where moment < epoch_us(cast(? as timestamp))",
                    [str(file), today + timedelta(days=1)],
                ).fetchone()
        except duckdb.Error as error:
            raise LocalError(
                f"{file} cannot be read to find the last session ({str(error).splitlines()[0]}): "
                "mend the file, or say AS_OF=<date>."
            ) from error
        if row is None or row[0] is None:
            raise LocalError(f"{file} holds no session with a readable started_at up to today: say AS_OF=<date>.")
        last: date = row[0]
        return last
    raise LocalError(f"{folder} holds neither sessions.parquet nor sessions.csv, and a source needs one of them.")
