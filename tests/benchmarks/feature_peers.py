"""The peers of bench_features: DuckDB running the very models, and polars written by hand for the sums over windows."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import polars as pl

__all__ = ["BuiltModel", "built_models", "duckdb_seconds", "polars_seconds"]

SOURCES = (
    *("users", "sessions", "payments", "interactions", "items", "events", "exposures", "responses", "consents"),
    *("friendships", "identities", "touches"),
)
WINDOWS = (7, 28, 90, 365)
# Of a double two engines may differ in the last digits; everything else must be the same.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class BuiltModel:
    """A model as dbt built it in Postgres: its SQL for an empty table, and what it became."""

    schema: str
    name: str
    sql: str
    is_view: bool


def built_models(
    target_folder: Path, schemas: Sequence[str] = ("staging", "intermediate", "marts", "features")
) -> list[BuiltModel]:
    """Read from dbt's account of its last (full) run what it has built, in an order in which it can be built again."""
    manifest = json.loads((target_folder / "manifest.json").read_text(encoding="utf-8"))
    results = json.loads((target_folder / "run_results.json").read_text(encoding="utf-8"))["results"]
    return [
        BuiltModel(node["schema"], node["name"], result["compiled_code"], node["config"]["materialized"] == "view")
        for result in results
        if (node := manifest["nodes"][result["unique_id"]])["resource_type"] == "model" and node["schema"] in schemas
    ]


def duckdb_seconds(url: str, models: Sequence[BuiltModel], folder: Path) -> dict[str, float]:
    """Run the same models on the same rows in DuckDB, compare every table with Postgres, and return the seconds.

    Raises:
        SystemExit: the engines disagree.
    """
    database = urlsplit(url).path.lstrip("/")
    with duckdb.connect() as peer:
        peer.execute("set threads to 2; set timezone to 'UTC'; install postgres; load postgres")
        peer.execute(f"set memory_limit = '10GB'; set temp_directory = '{folder / 'spill'}'")
        peer.execute(f"attach '{folder / 'peer.duckdb'}' as {database}; use {database}")
        peer.execute(f"attach '{url}' as warehouse (type postgres, read_only)")
        start = time.perf_counter()
        for schema in ("raw", "privacy", *sorted({model.schema for model in models})):
            peer.execute(f"create schema {database}.{schema}")
        for table in (*(f"raw.{source}" for source in SOURCES), "privacy.consent_acts"):
            peer.execute(f"create table {database}.{table} as select * from warehouse.{table}")
        copied = time.perf_counter()
        seconds = {"copy from Postgres": copied - start}
        for model in models:
            kind = "view" if model.is_view else "table"
            peer.execute(f"create {kind} {database}.{model.schema}.{model.name} as {model.sql}")
        seconds["marts and features"] = time.perf_counter() - copied
        different = {
            f"{model.schema}.{model.name}": count
            for model in models
            if model.schema in ("marts", "features") and (count := _different_rows(peer, database, model))
        }
        if different:
            raise SystemExit(f"The engines disagree in so many rows: {different}.")
    return seconds


def _different_rows(peer: duckdb.DuckDBPyConnection, database: str, model: BuiltModel) -> int:
    """Rows of one engine that the other does not have, doubles and sums rounded to what both can hold."""
    relation = f"{model.schema}.{model.name}"
    columns = peer.execute(
        "select column_name, data_type from duckdb_columns() where database_name = 'warehouse'"
        " and schema_name = ? and table_name = ? order by column_index",
        [model.schema, model.name],
    ).fetchall()
    compared = ", ".join(
        f"round(cast({name} as double), 6) as {name}"
        if kind in ("DOUBLE", "FLOAT", "HUGEINT", "BIGINT", "INTEGER") or kind.startswith("DECIMAL")
        else name
        for name, kind in columns
    )
    if not columns:
        raise SystemExit(f"Postgres has no {relation}.")
    ours, theirs = (f"select {compared} from {source}.{relation}" for source in ("warehouse", database))
    found = peer.execute(
        f"select count(*) from ((({ours}) except all ({theirs})) union all (({theirs}) except all ({ours})))"
    ).fetchone()
    return int(found[0]) if found else 0


def polars_seconds(url: str, as_of_date: date, folder: Path) -> dict[str, float]:
    """Roll activities up to days and sum them over windows in polars, and compare the sums with Postgres.

    Raises:
        SystemExit: polars and Postgres disagree.
    """
    with duckdb.connect() as source:
        source.execute("set timezone to 'UTC'; install postgres; load postgres")
        source.execute(f"attach '{url}' as warehouse (type postgres, read_only)")
        for table, columns in (
            ("sessions", "user_id, started_at as at, cast(duration_seconds as bigint) as duration_seconds"),
            ("payments", "user_id, paid_at as at, cast(amount as double) as amount, kind"),
            ("interactions", "user_id, occurred_at as at"),
        ):
            source.execute(
                f"copy (select {columns} from warehouse.raw.{table}) to '{folder / table}.parquet' (format parquet)"
            )
        expected = source.execute(
            "select * exclude (as_of_date) from (select user_id, as_of_date,"
            + ", ".join(
                f"cast({name}_{window} as double) as {name}_{window}"
                for name in ("active_days_count", "sessions_count", "sessions_duration_seconds", "payments_amount")
                for window in (*(f"{days}d" for days in WINDOWS), "life")
            )
            + f" from warehouse.features.user_sums_as_of_dates) where as_of_date = date '{as_of_date}'"
        ).pl()
    start = time.perf_counter()
    sums = _sums_in_polars(folder, as_of_date)
    seconds = {"rollup and windows": time.perf_counter() - start}
    names = [name for name in expected.columns if name != "user_id"]
    joined = expected.join(sums, on="user_id", how="left", suffix="_peer").fill_null(0)
    wrong = [
        name
        for name in names
        if float((joined[name] - joined[f"{name}_peer"]).abs().max() or 0) > TOLERANCE * 1e6  # type: ignore[arg-type]
    ]
    if wrong:
        raise SystemExit(f"polars and Postgres disagree in {wrong}.")
    return seconds


def _sums_in_polars(folder: Path, as_of_date: date) -> pl.DataFrame:
    day = pl.col("at").dt.convert_time_zone("UTC").dt.date().alias("day")
    activities = pl.concat(
        [
            pl.scan_parquet(folder / "sessions.parquet").select(
                "user_id", day, pl.lit(1).alias("sessions_count"), pl.col("duration_seconds")
            ),
            pl.scan_parquet(folder / "payments.parquet")
            .filter(pl.col("kind") != "refund")
            .select("user_id", day, pl.col("amount")),
            pl.scan_parquet(folder / "interactions.parquet").select("user_id", day),
        ],
        how="diagonal",
    )
    days = (
        activities.filter(pl.col("day") < as_of_date)
        .group_by("user_id", "day")
        .agg(
            pl.col("sessions_count").sum(),
            pl.col("duration_seconds").sum().alias("sessions_duration_seconds"),
            pl.col("amount").sum().alias("payments_amount"),
        )
        .with_columns(pl.lit(1).alias("active_days_count"))
    )
    measures = ("active_days_count", "sessions_count", "sessions_duration_seconds", "payments_amount")
    windows = [
        pl.when(pl.col("day") >= as_of_date - timedelta(days=window))
        .then(pl.col(name))
        .sum()
        .alias(f"{name}_{window}d")
        for name in measures
        for window in WINDOWS
    ]
    return (
        days.group_by("user_id")
        .agg(*windows, *(pl.col(name).sum().alias(f"{name}_life") for name in measures))
        .collect()
    )
