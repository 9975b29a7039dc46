"""The polars peer of bench_features: sums over windows, written by hand."""

from __future__ import annotations

import time
from datetime import date, timedelta
from pathlib import Path

import duckdb
import duckdb_extensions
import polars as pl

__all__ = ["polars_seconds"]

WINDOWS = (7, 28, 90, 365)
# Of a double two engines may differ in the last digits; everything else must be the same.
TOLERANCE = 1e-9


def polars_seconds(url: str, as_of_date: date, folder: Path) -> dict[str, float]:
    """Roll activities up to days and sum them over windows in polars, and compare the sums with Postgres.

    Raises:
        SystemExit: polars and Postgres disagree.
    """
    duckdb_extensions.import_extension("postgres_scanner")
    with duckdb.connect() as source:
        source.execute("set timezone to 'UTC'; load postgres_scanner")
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
