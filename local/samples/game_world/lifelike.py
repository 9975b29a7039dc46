"""How lifelike a written world is: the figures that studios publish, measured on the source alone."""

from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np

from local.samples.game_world.parameters import AS_OF_DATE, FIRST_DATE

RETENTION_DAYS = (1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 90, 120, 180)
GAP_SHARES = tuple(np.round(np.linspace(0.01, 0.99, 99), 2).tolist())


@dataclass(frozen=True)
class Lifelikeness:
    """What can be held beside published figures.

    Attributes:
        retention: share of players who play exactly so many days after the day they registered.
        payer_share: share of all players who ever paid.
        monthly_payer_share: share of the players active in the last 30 days who paid in them.
        top_decile_share: share of all revenue that came from the tenth of payers who paid most.
        payer_month_spend: mean spend of a payer in the last 30 days, in USD.
        deposit_mean: mean deposit, in USD.
        sessions_per_active_day: mean number of sessions of a player on a day of play.
        session_median_minutes: median length of a session.
        gap_hours: percentiles 1 to 99 of the time from the start of a session to the start of the player's next.
        spend_shares: cumulative share of revenue by share of payers, the highest first; (101,).
    """

    retention: dict[int, float]
    payer_share: float
    monthly_payer_share: float
    top_decile_share: float
    payer_month_spend: float
    deposit_mean: float
    sessions_per_active_day: float
    session_median_minutes: float
    gap_hours: np.ndarray
    spend_shares: np.ndarray


def measure_lifelikeness(folder: Path) -> Lifelikeness:
    """Measure a source folder written by this package."""
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        for name in ("users", "sessions", "payments"):
            connection.read_parquet(str(folder / f"{name}.parquet")).create_view(f"all_{name}")
        connection.execute(f"""
            create view users as select *, cast(registered_at as date) as registered_on from all_users;
            create table sessions as
            select distinct *, cast(started_at as date) as played_on from all_sessions
            where duration_seconds >= 0 and started_at >= timestamptz '{FIRST_DATE} 00:00:00+00'
                and started_at < timestamptz '{AS_OF_DATE} 00:00:00+00';
            create table payments as select distinct * from all_payments;
        """)
        retention = {
            day: _scalar(
                connection,
                f"""
                select count(distinct user_id) filter (where played_on = registered_on + {day})
                    / count(distinct user_id)
                from users left join sessions using (user_id)
                where registered_on + {day} < date '{AS_OF_DATE}'""",
            )
            for day in RETENTION_DAYS
        }
        month = f"timestamptz '{AS_OF_DATE} 00:00:00+00' - interval 30 day"
        spends = connection.execute(
            "select sum(cast(amount as double)) from payments group by user_id order by 1 desc"
        ).fetchnumpy()
        spend = np.concatenate([[0.0], np.cumsum(next(iter(spends.values())))])
        shares = np.interp(np.linspace(0, len(spend) - 1, 101), np.arange(len(spend)), spend / spend[-1])
        gaps = connection.execute(f"""
            with gaps as (
                select date_diff('second', lag(started_at) over (partition by user_id order by started_at), started_at)
                    / 3600.0 as hours
                from sessions
            )
            select unnest(quantile_cont(hours, {list(GAP_SHARES)})) from gaps where hours is not null
        """).fetchnumpy()
        return Lifelikeness(
            retention=retention,
            payer_share=_scalar(
                connection, "select (select count(distinct user_id) from payments) / (select count(*) from users)"
            ),
            monthly_payer_share=_scalar(
                connection,
                f"""select (select count(distinct user_id) from payments where paid_at >= {month})
                    / (select count(distinct user_id) from sessions where started_at >= {month})""",
            ),
            top_decile_share=float(shares[10]),
            payer_month_spend=_scalar(
                connection,
                f"select sum(amount) / count(distinct user_id) from payments where paid_at >= {month}",
            ),
            deposit_mean=_scalar(connection, "select avg(amount) from payments"),
            sessions_per_active_day=_scalar(
                connection,
                "select count(*) / (select count(*) from (select distinct user_id, played_on from sessions))"
                " from sessions",
            ),
            session_median_minutes=_scalar(connection, "select median(duration_seconds) / 60 from sessions"),
            gap_hours=np.asarray(next(iter(gaps.values())), dtype=float),
            spend_shares=shares,
        )


def _scalar(connection: duckdb.DuckDBPyConnection, query: str) -> float:
    row = connection.execute(query).fetchone()
    if row is None:
        raise ValueError("The world has no rows to measure.")
    return float(row[0])
