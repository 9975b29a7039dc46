"""Rows of the source contract, put straight into `raw`: these tests are about SQL, not about landing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import count

import psycopg

Row = dict[str, object]


def moment(text: str) -> datetime:
    """Read `2026-02-01` or `2026-02-01 09:00:00` as UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class World:
    """Collects rows; every helper fills in what its test does not care for."""

    def __init__(self) -> None:
        self.tables: dict[str, list[Row]] = defaultdict(list)
        self._numbers = count(1)

    def _add(self, table: str, **row: object) -> None:
        self.tables[table].append(row)

    def _id(self, kind: str) -> str:
        return f"{kind}-{next(self._numbers):06d}"

    def user(self, user_id: str, registered_at: str = "2025-06-01", **more: object) -> str:
        self._add("users", user_id=user_id, registered_at=moment(registered_at), **more)
        return user_id

    def session(self, user_id: str, *started: str, seconds: int = 60, **more: object) -> None:
        for started_at in started:
            self._add(
                "sessions",
                **{"session_id": self._id("session"), "user_id": user_id, "started_at": moment(started_at)},
                duration_seconds=seconds,
                **more,
            )

    def payment(self, user_id: str, paid_at: str, amount: float, kind: str = "purchase") -> None:
        self._add(
            "payments",
            **{"payment_id": self._id("payment"), "user_id": user_id, "paid_at": moment(paid_at), "amount": amount},
            currency="EUR",
            kind=kind,
        )

    def interaction(
        self, user_id: str | None, occurred_at: str, kind: str = "view", item_id: str | None = None
    ) -> None:
        self._add(
            "interactions",
            **{"interaction_id": self._id("interaction"), "user_id": user_id, "occurred_at": moment(occurred_at)},
            kind=kind,
            item_id=item_id,
        )

    def event(self, event_id: str, event_type: str, starts_at: str, ends_at: str, capacity: int | None = None) -> None:
        self._add(
            "events",
            **{"event_id": event_id, "event_type": event_type, "title": event_id, "capacity": capacity},
            **{"starts_at": moment(starts_at), "ends_at": moment(ends_at), "reward_cost": 2, "contact_cost": 0.5},
        )

    def exposure(
        self, event_id: str, user_id: str, exposed_at: str, channel: str = "email", arm: str = "treated"
    ) -> None:
        self._add(
            "exposures",
            **{"exposure_id": self._id("exposure"), "event_id": event_id, "user_id": user_id},
            **{"exposed_at": moment(exposed_at), "channel": channel, "arm": arm, "assignment_probability": 0.5},
        )

    def response(self, event_id: str, user_id: str, responded_at: str) -> None:
        self._add(
            "responses",
            **{"response_id": self._id("response"), "event_id": event_id, "user_id": user_id},
            responded_at=moment(responded_at),
        )

    def consent(
        self, user_id: str, channel: str, is_granted: bool, decided_at: str, purpose: str = "marketing"
    ) -> None:
        self._add(
            "consents",
            **{"consent_id": self._id("consent"), "user_id": user_id, "channel": channel, "purpose": purpose},
            **{"is_granted": is_granted, "decided_at": moment(decided_at)},
        )

    def friendship(self, user_id: str, friend_id: str, since: str) -> None:
        self._add("friendships", user_id=user_id, friend_id=friend_id, since=moment(since))

    def item(self, item_id: str, category: str | None) -> None:
        self._add("items", item_id=item_id, item_kind="thing", title=item_id, category=category)

    def write(self, url: str) -> None:
        """Put everything into raw."""
        with psycopg.connect(url) as connection:
            for table, rows in self.tables.items():
                insert_rows(connection, table, rows)


def insert_rows(connection: psycopg.Connection, table: str, rows: Iterable[Row], landing_id: int | None = None) -> None:
    """Insert rows that may name different columns, as written by a landing or, without a number, by none."""
    groups: dict[tuple[str, ...], list[tuple[object, ...]]] = defaultdict(list)
    for row in rows:
        groups[tuple(row)].append(tuple(row.values()))
    for columns, values in groups.items():
        listed = ", ".join(columns)
        with connection.cursor().copy(f"copy raw.{table} ({listed}, _batch_id, _landing_id) from stdin") as copy:
            for row_values in values:
                copy.write_row((*row_values, "batch", landing_id))
