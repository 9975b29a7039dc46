"""The DuckDB peer of bench_features: the same features of everybody, written as DuckDB would have them.

Set-based throughout: a rollup to user-days, one grouped pass over it for all windows, and grouped joins for the rest.
What dbt builds in Postgres beyond this (features of past moments, labels, decisions) is not built here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import duckdb_extensions
import yaml

from tests.dbt_project.building import PROJECT
from warehouse.settings import load_settings

__all__ = ["duckdb_seconds"]

VARIABLES = yaml.safe_load((PROJECT / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]
WINDOWS: Sequence[int] = VARIABLES["feature_windows"]
INTERACTIONS: Sequence[str] = VARIABLES["interaction_kinds"]
CHANNELS: Sequence[str] = VARIABLES["contact_channels"]
SOURCES = {
    "users": "user_id, registered_at",
    "sessions": "user_id, started_at, duration_seconds, page_view_count, device_id, device_type, operating_system",
    "payments": "user_id, paid_at, amount, kind",
    "interactions": "user_id, occurred_at, kind, item_id",
    "items": "item_id, category",
    "events": "event_id, event_type",
    "exposures": "exposure_id, event_id, user_id, exposed_at, channel, arm",
    "responses": "event_id, user_id, responded_at",
    "friendships": "user_id, friend_id, since",
}
PARTS_OF_DAY = {"night": (0, 5), "morning": (6, 11), "afternoon": (12, 17), "evening": (18, 23)}
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

# What a day of a user adds to each measure.
MEASURES = {
    "active_days_count": "1",
    "sessions_count": "sessions_count",
    "sessions_duration_seconds": "sessions_duration_seconds",
    "interactions_count": "interactions_count",
    "payments_count": "payments_count",
    "paying_days_count": "cast(payments_count > 0 as integer)",
    "payments_amount": "payments_amount",
}
LIFE_MEASURES = {
    **MEASURES,
    "page_views_count": "page_views_count",
    "session_days_count": "cast(sessions_count > 0 as integer)",
    "device_switch_days_count": "cast(has_several_devices as integer)",
    "gaps_count": "cast(gap is not null as integer)",
    "gaps_days": "gap",
    "gaps_square_days": "gap * gap",
    **{f"{part}_sessions_count": f"{part}_sessions_count" for part in PARTS_OF_DAY},
    **{f"{name}_days_count": f"cast(isodow(day) = {number} as integer)" for number, name in enumerate(WEEKDAYS, 1)},
    **{f"{kind}_interactions_count": f"{kind}_interactions_count" for kind in INTERACTIONS},
}
LEVELS = (
    *("active_days_count", "sessions_count", "sessions_duration_seconds", "interactions_count"),
    "payments_amount",
)


def _user_days() -> str:
    parts = ", ".join(
        f"count(*) filter (where hour between {first} and {last}) as {part}_sessions_count"
        for part, (first, last) in PARTS_OF_DAY.items()
    )
    kinds = ", ".join(f"count(*) filter (where kind = '{kind}') as {kind}_interactions_count" for kind in INTERACTIONS)
    return f"""
    create table user_days as
    with activities as (
        select user_id, started_at as happened_at, hour(started_at) as hour, duration_seconds, page_view_count,
            device_id, device_type, operating_system
        from sessions
        union all by name
        select user_id, paid_at as happened_at, amount from payments where kind <> 'refund'
        union all by name
        select user_id, occurred_at as happened_at, kind from interactions where user_id is not null
    ),
    days as (
        select user_id, cast(happened_at as date) as day,
            max(happened_at) as last_activity_at, min(happened_at) as first_activity_at,
            max(device_id) as device_id, max(device_type) as device_type, max(operating_system) as operating_system,
            coalesce(min(device_id) <> max(device_id) or min(device_type) <> max(device_type), false)
                as has_several_devices,
            count(hour) as sessions_count, coalesce(sum(duration_seconds), 0) as sessions_duration_seconds,
            coalesce(sum(page_view_count), 0) as page_views_count, count(kind) as interactions_count,
            count(amount) as payments_count, coalesce(sum(amount), 0) as payments_amount,
            max(amount) as largest_payment_amount, {parts}, {kinds}
        from activities
        group by user_id, cast(happened_at as date)
    )
    select days.*, registered_date, day - lag(day) over (partition by user_id order by day) as gap
    from days inner join known_users using (user_id)
    where day >= registered_date - 1
    """


def _sums() -> str:
    windows = [
        f"coalesce(sum({what}) filter (where day >= as_of() - {days}), 0) as {name}_{days}d"
        for name, what, days in (
            *((name, what, days) for name, what in MEASURES.items() for days in WINDOWS),
            ("payments_amount", "payments_amount", 180),
            *((f"{kind}_interactions_count", f"{kind}_interactions_count", 90) for kind in INTERACTIONS),
        )
    ]
    life = [f"coalesce(sum({what}), 0) as {name}_life" for name, what in LIFE_MEASURES.items()]
    levels = [
        f"coalesce(sum({MEASURES[name]}) filter (where {when}), 0) as {prefix}_{name}"
        for prefix, when in (
            ("last", "day > last_day - 28"),
            ("earlier", "day > last_day - 56 and day <= last_day - 28"),
        )
        for name in LEVELS
    ]
    dates = {"session": "sessions_count", "interaction": "interactions_count", "payment": "payments_count"}
    last_dates = [f"max(day) filter (where {count} > 0) as last_{name}_date" for name, count in dates.items()]
    return f"""
    create table user_sums_as_of_dates as
    with last_days as (
        select user_id, max(day) as last_day from user_days where day < as_of() group by user_id
    ),
    sums as (
        select user_id, {", ".join((*windows, *life, *levels, *last_dates))},
            max(gap) as gaps_longest_days, max(largest_payment_amount) as largest_payment_amount,
            arg_max(device_type, day) filter (where sessions_count > 0) as last_device_type,
            arg_max(operating_system, day) filter (where sessions_count > 0) as last_operating_system,
            count(distinct device_id) as devices_count, count(distinct device_type) as device_types_count,
            arg_min(payments_amount, day) filter (where payments_count > 0) as first_paying_day_amount,
            arg_max(payments_amount, day) filter (where payments_count > 0) as last_paying_day_amount,
            min(day) as first_activity_date, max(day) as last_activity_date,
            min(day) filter (where payments_count > 0) as first_payment_date, max(last_activity_at) as last_activity_at
        from user_days inner join last_days using (user_id)
        where day < as_of()
        group by user_id
    )
    select known_users.user_id, sums.* exclude (user_id)
    from known_users left join sums using (user_id)
    """


def _lapses(inactive_after_days: int) -> str:
    return f"""
    create table lapses as
    with lapses as (
        select user_id, registered_date, day - cast(gap as integer) as last_day, first_activity_at as returned_at
        from user_days where gap > {inactive_after_days}
        union all
        select user_id, any_value(registered_date), max(day), null from user_days group by user_id
        union all
        select user_id, any_value(known_users.registered_date), null, min(first_activity_at)
        from known_users left join user_days using (user_id) group by user_id
    )
    select user_id, last_day, returned_at, cast(returned_at as date) as returned_date,
        greatest(registered_date + 1, last_day + {inactive_after_days + 1}) as inactive_from_date
    from lapses
    where returned_at is null or inactive_from_date <= returned_date
    """


def _contacts(return_window_days: int) -> tuple[str, str]:
    channels = ", ".join(
        f"count(*) filter (where channel = '{channel}'{more}) as {channel}_{what}_count_life"
        for channel in CHANNELS
        for what, more in (
            *(("contacts", ""), ("responses", " and responded_at < as_of()")),
            ("returns", " and returned_at < as_of()"),
        )
    )
    contacts = f"""
    create table contacts as
    with sent as (
        select exposure_id, event_id, user_id, channel, exposed_at
        from exposures inner join events using (event_id)
        where arm = 'treated' and channel <> 'none'
    ),
    answered as (
        select exposure_id, min(responded_at) as responded_at
        from sent inner join responses using (event_id, user_id)
        where responded_at >= exposed_at group by exposure_id
    ),
    returned as (
        select exposure_id, min(returned_at) as returned_at
        from sent inner join lapses using (user_id)
        where inactive_from_date <= cast(exposed_at as date) and returned_at >= exposed_at
            and returned_at < exposed_at + to_days({return_window_days})
        group by exposure_id
    )
    select sent.*, responded_at, returned_at
    from sent left join answered using (exposure_id) left join returned using (exposure_id)
    """
    features = f"""
    create table feat_user_contacts as
    with contacts_before as (
        select user_id, as_of() - max(cast(exposed_at as date)) as days_since_last_contact,
            count(*) filter (where cast(exposed_at as date) >= as_of() - 30) as contacts_count_30d,
            count(*) as contacts_count_life, {channels}
        from contacts where exposed_at < as_of() group by user_id
    ),
    responses_before as (
        select user_id, as_of() - max(cast(responded_at as date)) as days_since_last_response,
            count(*) as responses_count_life, count(distinct event_id) as responded_events_count_life
        from responses where responded_at < as_of() group by user_id
    )
    select * from known_users
    left join contacts_before using (user_id) left join responses_before using (user_id)
    """
    return contacts, features


LAPSES = """
create table feat_user_lapses as
with lapses_before as (
    select lapses.*, returned_date < as_of() as has_ended,
        (user_id, returned_at) in (select user_id, returned_at from contacts where returned_at is not null)
            as is_after_contact
    from lapses
    where last_day is not null and inactive_from_date <= as_of()
)
select user_id, count(*) as lapses_count, count(*) filter (where has_ended) as returns_count,
    count(*) filter (where has_ended and is_after_contact) as returns_after_contact_count,
    count(*) filter (where has_ended and is_after_contact is not true) as returns_without_contact_count,
    avg(returned_date - last_day) filter (where has_ended) as mean_ended_lapse_days,
    max(returned_date - last_day) filter (where has_ended) as longest_ended_lapse_days,
    as_of() - max(returned_date) filter (where has_ended) as days_since_last_return
from lapses_before
group by user_id
"""
SOCIAL = """
create table feat_user_social as
with friendships_mirrored as (
    select user_id, friend_id from (
        select user_id, friend_id, since from friendships
        union all
        select friend_id, user_id, since from friendships
    )
    where user_id <> friend_id and since < as_of()
    group by user_id, friend_id
),
degrees as (select user_id as friend_id, count(*) as degree from friendships_mirrored group by user_id),
states as (
    select user_id as friend_id,
        max(cast(coalesce(returned_date >= as_of(), true) as integer)) as is_inactive,
        max(cast(coalesce(returned_date < as_of() and returned_date >= as_of() - 28, false) as integer)) as has_returned
    from lapses where inactive_from_date <= as_of() group by user_id
),
money as (
    select user_id as friend_id, sum(payments_amount) as amount
    from user_days where payments_count > 0 and day < as_of() and day >= as_of() - 365 group by user_id
)
select friendships_mirrored.user_id, count(*) as friends_count,
    sum(1 - coalesce(is_inactive, 0)) as active_friends_count,
    sum(coalesce(has_returned, 0)) as friends_returned_count_28d,
    sum(coalesce(amount, 0)) as friends_payments_amount_365d,
    sum(1 / degree) as social_influence_degree_normalised
from friendships_mirrored
inner join known_users as friends on friends.user_id = friend_id
inner join degrees using (friend_id)
left join states using (friend_id)
left join money using (friend_id)
group by friendships_mirrored.user_id
"""
ITEMS = """
create table feat_user_items as
with months as (
    select user_id, category, date_trunc('month', occurred_at) as month, count(*) as number,
        min(cast(occurred_at as date)) as first_day
    from interactions inner join items using (item_id)
    where user_id is not null and category is not null and occurred_at < as_of()
    group by user_id, category, date_trunc('month', occurred_at)
),
categories as (select user_id, category, min(first_day) as first_day from months group by user_id, category),
counted as (
    select user_id, count(*) as categories_count_life,
        count(*) filter (where first_day >= as_of() - 90) as new_categories_count_90d
    from categories group by user_id
),
favourites as (
    select user_id, category, number from months where month < date_trunc('month', as_of())
    qualify row_number() over (partition by user_id, month order by number desc, category) = 1
),
ranked as (
    select user_id, category as favourite_category from favourites group by user_id, category
    qualify row_number() over (partition by user_id order by count(*) desc, sum(number) desc, category) = 1
)
select * from counted left join ranked using (user_id)
"""


def duckdb_seconds(url: str, as_of_date: date, folder: Path) -> dict[str, float]:
    """Build features of everybody as of a date in DuckDB, compare them with Postgres, and return the seconds.

    Args:
        url: the warehouse, whose features are built for the date.
        as_of_date: the date.
        folder: where DuckDB keeps its file and what it spills.

    Raises:
        SystemExit: the engines disagree.
    """
    settings = load_settings()
    duckdb_extensions.import_extension("postgres_scanner")
    with duckdb.connect(str(folder / "peer.duckdb")) as peer:
        peer.execute("set threads to 2; set timezone to 'UTC'; load postgres_scanner")
        peer.execute(f"set memory_limit = '8GB'; set temp_directory = '{folder / 'spill'}'")
        peer.execute(f"attach '{url}' as warehouse (type postgres, read_only)")
        peer.execute(f"create macro as_of() as date '{as_of_date}'")
        begin = time.perf_counter()
        for table, columns in SOURCES.items():
            peer.execute(f"create table {table} as select {columns} from warehouse.raw.{table}")
        copied = time.perf_counter()
        peer.execute(
            "create table known_users as select user_id, cast(registered_at as date) as registered_date from users"
            " where registered_at < as_of()"
        )
        contacts, features = _contacts(settings.return_window_days)
        for statement in (
            *(_user_days(), _sums(), _lapses(settings.inactive_after_days), contacts, features),
            *(LAPSES, SOCIAL, ITEMS),
        ):
            peer.execute(statement)
        built = time.perf_counter()
        different = {name: count for name in RELATIONS if (count := _different_cells(peer, name, as_of_date))}
        if different:
            raise SystemExit(f"The engines disagree in so many rows: {different}.")
    return {
        f"copy from {urlsplit(url).scheme}": copied - begin,
        "marts and features": built - copied,
    }


RELATIONS = (
    *("user_sums_as_of_dates", "feat_user_lapses", "feat_user_contacts", "feat_user_social", "feat_user_items"),
)


def _different_cells(peer: duckdb.DuckDBPyConnection, name: str, as_of_date: date) -> int:
    """Users of whom any column the peer has is not the same; sums are rounded, no row is nothing or zero."""
    kinds = dict(
        peer.execute(
            "select column_name, data_type from duckdb_columns() where database_name = 'warehouse'"
            " and schema_name = 'features' and table_name = ?",
            [name],
        ).fetchall()
    )
    columns = [column for column, *_ in peer.execute(f"describe {name}").fetchall() if column in kinds]
    numbers = {column for column in columns if kinds[column] not in ("VARCHAR", "DATE", "TIMESTAMP WITH TIME ZONE")}
    compared = " or ".join(
        f"abs(coalesce(ours.{column}, 0) - coalesce(theirs.{column}, 0))"
        f" > 1e-6 * greatest(1, abs(coalesce(ours.{column}, 0)))"
        if column in numbers
        else f"ours.{column} is distinct from theirs.{column}"
        for column in columns
        if column != "user_id"
    )
    chosen = ", ".join(f"cast({column} as double) as {column}" if column in numbers else column for column in columns)
    found = peer.execute(
        f"select count(*) from (select {chosen} from warehouse.features.{name} where as_of_date = date '{as_of_date}')"
        f" as ours left join (select {chosen} from {name}) as theirs using (user_id) where {compared}"
    ).fetchone()
    return int(found[0]) if found else 0
