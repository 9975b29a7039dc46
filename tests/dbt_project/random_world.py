"""A generated company: enough users of every kind that a wrong window shows, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import numpy as np
import psycopg

from tests.dbt_project.world import Row, insert_rows

FIRST_DAY = datetime(2025, 9, 1, tzinfo=UTC)
DAYS = 180
# The week in which the first year of the world is over and settled: what days give way to a year's row.
LAST_DATE = date(2026, 1, 12)
LATE_DAYS = 6.9

# The column of each table that says when a row happened.
TIMES = {
    "users": "registered_at",
    "sessions": "started_at",
    "payments": "paid_at",
    "events": "starts_at",
    "exposures": "exposed_at",
    "responses": "responded_at",
    "consents": "decided_at",
    "friendships": "since",
    "interactions": "occurred_at",
}
CHANNELS = ("email", "sms", "push")


@dataclass
class RandomWorld:
    """Rows by table, and when each row became known where it came late."""

    tables: dict[str, list[Row]]
    items: list[Row] = field(default_factory=list)

    def write(self, url: str, before: datetime | None = None) -> None:
        """Make raw hold the rows that happened before a moment, and nothing else."""
        with psycopg.connect(url) as connection:
            connection.execute(f"truncate {', '.join(f'raw.{table}' for table in (*TIMES, 'items'))} cascade")
            # Another story, not another act: what the ledger remembers of the last one must go too.
            connection.execute("set local session_replication_role = replica")
            connection.execute(
                "truncate privacy.consent_acts, privacy.consent_states, privacy.granted_consents cascade"
            )
            connection.execute("set local session_replication_role = origin")
            insert_rows(connection, "items", self.items, landing_id=0)
            for table, column in TIMES.items():
                rows = self.tables[table]
                insert_rows(connection, table, [row for row in rows if before is None or row[column] < before])


def draw_world(seed: int, user_count: int = 60) -> RandomWorld:
    """Draw users who come in spells, events every other week, and everything else around them."""
    random = np.random.default_rng(seed)
    tables: dict[str, list[Row]] = {table: [] for table in TIMES}

    def at(day: float) -> datetime:
        # Now and then exactly at midnight: there a wrong comparison shows.
        return FIRST_DAY + timedelta(days=int(day) if random.random() < 0.1 else float(day))

    def number(table: str) -> str:
        return f"{table}-{len(tables[table]):06d}"

    items = [
        {"item_id": f"item-{index}", "item_kind": "thing", "title": "thing", "category": f"category-{index % 5}"}
        for index in range(20)
    ]
    for index in range(12):
        begin = 10 + index * 14
        tables["events"].append(
            {
                "event_id": f"event-{index}",
                "event_type": ("bonus", "coupon", "league")[index % 3],
                "title": f"Event {index}",
                "starts_at": at(begin),
                "ends_at": FIRST_DAY + timedelta(days=begin + 25),
                "reward_cost": 2,
                "contact_cost": 0.5,
                "capacity": 40,
            }
        )
    for index in range(user_count):
        user_id = f"user-{index:04d}"
        registered = float(random.uniform(0, 60)) if index % 10 else float(random.uniform(60, DAYS))
        tables["users"].append(
            {"user_id": user_id, "registered_at": FIRST_DAY + timedelta(days=registered), "country": "DE"}
        )
        day = registered
        while day < DAYS:
            tables["sessions"].append(
                {
                    "session_id": number("sessions"),
                    "user_id": user_id,
                    "started_at": at(day),
                    "duration_seconds": int(random.integers(10, 5000)),
                    "device_type": str(random.choice(["mobile", "desktop"])),
                    "operating_system": str(random.choice(["ios", "android"])),
                }
            )
            if random.random() < 0.4:
                tables["payments"].append(
                    {
                        "payment_id": number("payments"),
                        "user_id": user_id,
                        "paid_at": at(day + 0.01),
                        "amount": round(float(random.gamma(2, 10)) + 0.01, 2),
                        "currency": "EUR",
                        "kind": str(random.choice(["purchase", "deposit", "refund"], p=[0.6, 0.3, 0.1])),
                    }
                )
            if random.random() < 0.5:
                tables["interactions"].append(
                    {
                        "interaction_id": number("interactions"),
                        "user_id": user_id,
                        "occurred_at": at(day + 0.02),
                        "kind": str(random.choice(["view", "share", "search"])),
                        "item_id": f"item-{random.integers(20)}",
                    }
                )
            # Mostly the next days, sometimes a lapse.
            day += float(random.exponential(3)) if random.random() < 0.85 else float(random.uniform(31, 70))
        for channel in CHANNELS:
            for decided in random.uniform(registered, DAYS, random.integers(0, 3)):
                tables["consents"].append(
                    {
                        "consent_id": number("consents"),
                        "user_id": user_id,
                        "channel": channel,
                        "purpose": "marketing",
                        "is_granted": bool(random.random() < 0.7),
                        "decided_at": at(float(decided)),
                    }
                )
        for friend in random.choice(user_count, 3, replace=False):
            if friend != index:
                tables["friendships"].append(
                    {
                        "user_id": user_id,
                        "friend_id": f"user-{friend:04d}",
                        "since": at(float(random.uniform(registered, DAYS))),
                    }
                )
    for event in list(tables["events"]):
        for user in tables["users"]:
            exposed_at = at((event["starts_at"] - FIRST_DAY).days + float(random.uniform(0, 6)))
            if random.random() > 0.4 or exposed_at < max(user["registered_at"], event["starts_at"]):
                continue
            tables["exposures"].append(
                {
                    "exposure_id": number("exposures"),
                    "event_id": event["event_id"],
                    "user_id": user["user_id"],
                    "exposed_at": exposed_at,
                    "channel": str(random.choice(CHANNELS)),
                    "arm": str(random.choice(["treated", "control"])),
                    "assignment_probability": 0.5,
                }
            )
            if random.random() < 0.3:
                tables["responses"].append(
                    {
                        "response_id": number("responses"),
                        "event_id": event["event_id"],
                        "user_id": user["user_id"],
                        "responded_at": exposed_at + timedelta(days=float(random.uniform(0, 20))),
                    }
                )
    return RandomWorld(tables=tables, items=items)


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def arrivals(world: RandomWorld, seed: int) -> dict[str, list[datetime]]:
    """When each row lands: mostly at once, every fifth one up to a week late. Users, events and friends are on time."""
    random = np.random.default_rng(seed)
    return {
        table: [
            row[column] + timedelta(days=float(random.uniform(0, LATE_DAYS)))
            if random.random() < 0.2 and table not in ("users", "events", "friendships")
            else row[column]
            for row in world.tables[table]
        ]
        for table, column in TIMES.items()
    }


def land(url: str, world: RandomWorld, landed: dict[str, list[datetime]], start: datetime, end: datetime) -> None:
    """Land what arrives in [start, end), in an order of its own, as one landing with its receipt."""
    random = np.random.default_rng(0)
    with psycopg.connect(url) as connection:
        receipt = connection.execute(
            "insert into audit.landings (landing_id, table_name, batch_id, source, received, good, quarantined,"
            " duplicates, released) values (nextval('audit.landing_ids'), 'all', 'batch', '', 0, 0, 0, 0, 0)"
            " returning landing_id"
        ).fetchone()
        assert receipt is not None
        for table in TIMES:
            new = [row for row, at in zip(world.tables[table], landed[table], strict=True) if start <= at < end]
            insert_rows(connection, table, [new[index] for index in random.permutation(len(new))], receipt[0])
