"""A generated company for benchmarks, written straight into `raw`: skewed activity, and the rest in proportion.

A tenth of the users have half of the sessions, and most users stop somewhere on the way. To twenty sessions come two
payments, two interactions and one exposure; every other user has a friend, every user a consent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import duckdb
import duckdb_extensions
import psycopg

__all__ = ["Company"]

EVENT_TYPES = ("bonus", "coupon", "league", "tournament", "premiere", "gift")
CHANNELS = ("email", "push", "sms")
KINDS = ("view", "click", "search", "share", "purchase")
CATEGORIES = 40
ITEMS = 1000
EVENT_EVERY_DAYS = 28
# What landings write down of themselves; history is the first one, a new day the second.
LANDED = "'{number}' as _batch_id, {number} as _landing_id"
# Of a new day every fiftieth row happened days before.
LATE_SHARE = 50
LATE_DAYS = 6

# `draw(number, salt)` is uniform in [0, 1), `shares(...)` a whole number below its last argument.
MACROS = """
create or replace macro draw(number, salt) as (hash(number, salt) % 1000003) / 1000003.0;
create or replace macro pick(number, salt, size) as cast(hash(number, salt) % cast(size as ubigint) as integer);
create or replace macro user_name(number) as 'user-' || lpad(cast(number as varchar), 9, '0');
"""
USERS = """
create or replace table users as
select number, user_name(number) as user_id,
    timestamptz '{end} 00:00:00+00' - to_seconds(cast(86400 * {days} * draw(number, 1) as bigint) + 3600)
        as registered_at
from range({users}) as numbers (number);
"""
# Everything a user did: when lies between the registration and the end, the earlier the more the user has stopped.
ACTIVITY = """
with drawn as (
    select number, cast(floor({users} * power(draw(number, {salt} + 1), 3)) as bigint) as user_number
    from range({rows}) as numbers (number)
)
select drawn.number, users.number as user_number, users.user_id,
    registered_at + to_seconds(cast(
        date_diff('second', registered_at, timestamptz '{end} 00:00:00+00')
        * power(draw(drawn.number, {salt} + 2), 1 + pick(users.number, 3, 4)) as bigint)) as happened_at
from drawn inner join users on users.number = drawn.user_number
"""
SESSION_COLUMNS = """
user_id, happened_at as started_at, pick(number, 11, 3600) as duration_seconds,
'device-' || user_number || '-' || pick(number, 12, 1 + pick(user_number, 13, 3)) as device_id,
case pick(number, 12, 1 + pick(user_number, 13, 3)) when 0 then 'mobile' when 1 then 'desktop' else 'tablet' end
    as device_type,
case pick(user_number, 14, 2) when 0 then 'ios' else 'android' end as operating_system,
pick(number, 15, 12) as page_view_count, {landed}
"""


@dataclass(frozen=True)
class Company:
    """How much of everything there is, and when it ends."""

    users: int
    sessions: int
    history_days: int
    end: date

    @property
    def sessions_a_day(self) -> int:
        """Sessions of an average day."""
        return max(self.sessions // self.history_days, 1)

    def write(self, url: str) -> None:
        """Write the whole history up to `end`, each table in the order of time, as it would have landed."""
        with psycopg.connect(url, autocommit=True) as connection:
            # Keys and their price belong to landing, which has a benchmark of its own; dbt reads none of them.
            for table in ("sessions", "payments", "interactions", "exposures", "responses", "consents"):
                connection.execute(f"alter table raw.{table} drop constraint if exists {table}_pkey")
        with duckdb.connect() as source:
            self._connect(source, url)
            source.execute(
                "insert into warehouse.raw.users by name select user_id, registered_at, 'DE' as country,"
                f" 1950 + pick(number, 4, 55) as birth_year, {LANDED.format(number=1)} from users"
            )
            self._write_catalogue(source)
            self._write_activity(source, self.sessions, salt=100, landing=1)
            self._write_exposures(source)
            self._write_relations(source)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("vacuum analyze")

    def write_new_day(self, url: str) -> int:
        """Write the day that begins at `end`, rows that come late included; return its number of sessions."""
        with duckdb.connect() as source:
            self._connect(source, url)
            self._write_activity(source, self.sessions_a_day, salt=500, landing=2)
        return self.sessions_a_day

    def _connect(self, source: duckdb.DuckDBPyConnection, url: str) -> None:
        source.execute("set threads to 2; set timezone to 'UTC'; set preserve_insertion_order to true")
        duckdb_extensions.import_extension("postgres_scanner")
        source.execute("load postgres_scanner")
        source.execute(f"attach '{url}' as warehouse (type postgres)")
        source.execute(MACROS)
        source.execute(USERS.format(users=self.users, days=self.history_days, end=self.end))

    def _write_activity(self, source: duckdb.DuckDBPyConnection, sessions: int, *, salt: int, landing: int) -> None:
        shared = {"users": self.users, "end": self.end}
        for table, rows, columns in (
            (
                "sessions",
                sessions,
                "'s' || lpad(cast(number as varchar), 10, '0') || '-{landing}' as session_id, " + SESSION_COLUMNS,
            ),
            (
                "payments",
                sessions // 10,
                "'p' || lpad(cast(number as varchar), 10, '0') || '-{landing}' as payment_id,"
                " user_id, happened_at as paid_at,"
                " 1 + pick(number, 21, 5000) / 100.0 as amount, 'EUR' as currency,"
                " case pick(number, 22, 20) when 0 then 'refund' else 'purchase' end as kind, {landed}",
            ),
            (
                "interactions",
                sessions // 10,
                "'i' || lpad(cast(number as varchar), 10, '0') || '-{landing}' as interaction_id,"
                " user_id, happened_at as occurred_at,"
                f" {list(KINDS)}[1 + pick(number, 31, {len(KINDS)})] as kind,"
                f" 'item-' || pick(number, 32, {ITEMS}) as item_id, {{landed}}",
            ),
        ):
            drawn = ACTIVITY.format(rows=rows, salt=salt + len(table), **shared)
            if landing > 1:
                drawn = (
                    f"select * replace (timestamptz '{self.end} 00:00:00+00'"
                    " + to_seconds(cast(86400 * draw(number, 41) as bigint))"
                    f" - to_days(case when number % {LATE_SHARE} = 0 then 1 + pick(number, 42, {LATE_DAYS}) else 0 end)"
                    f" as happened_at) from ({drawn})"
                )
            source.execute(
                f"insert into warehouse.audit.landings by name select {landing} as landing_id, '{table}' as table_name,"
                f" '{landing}' as batch_id, '' as source, {rows} as received, {rows} as good, 0 as quarantined,"
                " 0 as duplicates, 0 as released, current_timestamp as landed_at"
            )
            selected = columns.format(landing=landing, landed=LANDED.format(number=landing))
            source.execute(
                f"insert into warehouse.raw.{table} by name select {selected} from ({drawn}) order by happened_at"
            )

    def _write_catalogue(self, source: duckdb.DuckDBPyConnection) -> None:
        source.execute(
            f"insert into warehouse.raw.items by name select 'item-' || number as item_id, 'thing' as item_kind,"
            f" 'thing' as title, 'category-' || (number % {CATEGORIES}) as category, {LANDED.format(number=1)}"
            f" from range({ITEMS}) as numbers (number)"
        )
        events = []
        for index, back in enumerate(range(self.history_days - 1, -EVENT_EVERY_DAYS, -EVENT_EVERY_DAYS)):
            begin = self.end - timedelta(days=back)
            events.append((f"event-{index}", EVENT_TYPES[index % len(EVENT_TYPES)], begin, begin + timedelta(days=14)))
        source.execute("create or replace table events (event_id text, event_type text, begins date, ends date)")
        source.executemany("insert into events values (?, ?, ?, ?)", events)
        source.execute(
            "insert into warehouse.raw.events by name select event_id, event_type, event_id as title,"
            " cast(begins as timestamptz) as starts_at, cast(ends as timestamptz) as ends_at,"
            f" 2 as reward_cost, 0.5 as contact_cost, 100000 as capacity, {LANDED.format(number=1)} from events"
        )

    def _write_exposures(self, source: duckdb.DuckDBPyConnection) -> None:
        source.execute(
            f"""
            create or replace table exposures as
            select numbers.number, events.event_id, users.user_id,
                cast(events.begins as timestamptz)
                    + to_seconds(cast(3 * 86400 * draw(numbers.number, 52) as bigint)) as happened_at,
                {list(CHANNELS)}[1 + pick(numbers.number, 53, {len(CHANNELS)})] as channel,
                case when draw(numbers.number, 54) < 0.2 then 'control' else 'treated' end as arm
            from range({self.sessions // 20}) as numbers (number)
            inner join (
                select *, row_number() over (order by begins) - 1 as place, count(*) over () as size
                from events where ends <= '{self.end}'
            ) as events on events.place = pick(numbers.number, 51, events.size)
            inner join users on users.number = cast(floor({self.users} * draw(numbers.number, 55)) as bigint)
            where users.registered_at < events.begins
            """
        )
        source.execute(
            "insert into warehouse.raw.exposures by name select 'e' || number as exposure_id, event_id, user_id,"
            f" happened_at as exposed_at, channel, arm, 0.8 as assignment_probability, {LANDED.format(number=1)}"
            " from exposures order by happened_at"
        )
        source.execute(
            "insert into warehouse.raw.responses by name select 'r' || number as response_id, event_id, user_id,"
            f" happened_at + to_hours(1 + pick(number, 56, 200)) as responded_at, {LANDED.format(number=1)}"
            " from exposures where arm = 'treated' and draw(number, 57) < 0.1 order by happened_at"
        )

    def _write_relations(self, source: duckdb.DuckDBPyConnection) -> None:
        source.execute(
            "insert into warehouse.raw.friendships by name select distinct on (user_id, friend_id) * from ("
            " select users.user_id, friends.user_id as friend_id,"
            f" greatest(users.registered_at, friends.registered_at) as since, {LANDED.format(number=1)}"
            f" from users inner join users as friends on friends.number = pick(users.number, 61, {self.users})"
            " where users.number % 2 = 0 and friends.number <> users.number)"
        )
        source.execute(
            "insert into warehouse.raw.consents by name select 'c' || number as consent_id, user_id,"
            " 'email' as channel, 'marketing' as purpose, draw(number, 62) < 0.8 as is_granted,"
            f" registered_at as decided_at, {LANDED.format(number=1)} from users"
        )
