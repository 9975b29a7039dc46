"""A warehouse with small feature tables of the shape that dbt builds, for the tests of the pipelines."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from warehouse.door import Warehouse
from warehouse.settings import Settings

DAY = date(2024, 6, 1)
TABLES = """
create table features.feat_user_behaviour (user_id text, as_of_date date, is_inactive boolean,
    days_since_first_activity integer, days_since_last_activity integer, active_days_count_life bigint,
    sessions_count_90d bigint, is_new boolean, last_activity_at timestamptz);
create view features.user_sums_as_of_dates as select user_id, as_of_date, is_inactive, days_since_first_activity,
    days_since_last_activity, active_days_count_life from features.feat_user_behaviour;
create table features.feat_user_money (user_id text, as_of_date date, repeat_purchase_days_count bigint,
    purchase_recency_days integer, purchase_age_days integer, repeat_purchase_mean_amount numeric,
    payments_mean_amount numeric);
create table features.feat_user_profile (user_id text, as_of_date date, country text);
create table features.feat_user_event_types (user_id text, as_of_date date, event_type text,
    past_responses_count bigint);
create table features.training_examples (example_id text, user_id text, event_id text, event_type text, channel text,
    arm text, assignment_probability float8, as_of_date date, is_inactive boolean, has_responded boolean,
    has_returned boolean, has_converted boolean, revenue_amount numeric, revenue_amount_90d numeric,
    return_known_at timestamptz, conversion_known_at timestamptz);
create table features.open_events (as_of_date date, event_id text, event_type text, title text, starts_at timestamptz,
    ends_at timestamptz, reward_cost numeric, contact_cost numeric, capacity_left bigint);
create table features.eligible_user_channels (as_of_date date, user_id text, channel text);
"""


@dataclass
class House:
    """A warehouse with feature tables for one date, and the way to fill them."""

    warehouse: Warehouse
    settings: Settings

    def write(self, table: str, rows: list[dict] | pd.DataFrame) -> None:
        with self.warehouse.transaction() as connection:
            self.warehouse.copy_frame(connection, f"features.{table}", pd.DataFrame(rows))

    def fill(self, *, users: int = 120, exposures: int = 900, events: int = 4, inactive_share: float = 0.7) -> None:
        """Users of DAY, and past moments over half a year in which `bonus` lifts returns from 20 to 45 %."""
        draw = np.random.default_rng(3)
        names = [f"user {number:04d} 'é😀" for number in range(users)]
        moments = [DAY - timedelta(days=30 + 10 * int(number)) for number in draw.integers(0, 15, exposures)]
        self._write_features([(name, DAY) for name in names], inactive_share, draw)
        examples, keys = [], set()
        for number, moment in enumerate(moments):
            name = names[int(draw.integers(0, users))]
            if (name, moment) in keys:
                continue
            keys.add((name, moment))
            treated = draw.random() < 0.5
            returned = bool(draw.random() < (0.45 if treated else 0.2))
            converted = bool(draw.random() < 0.5) if returned else None
            examples.append(
                {
                    "example_id": f"exposure:{number:05d}",
                    "user_id": name,
                    "event_id": "old",
                    "event_type": "bonus",
                    "channel": "email",
                    "arm": "treated" if treated else "control",
                    "assignment_probability": 0.5,
                    "as_of_date": moment,
                    "is_inactive": True,
                    "has_responded": False,
                    "has_returned": returned,
                    "has_converted": converted,
                    "revenue_amount": (10.0 + 5 * draw.random()) if converted else (0.0 if returned else None),
                    "return_known_at": pd.Timestamp(moment, tz="UTC") + pd.Timedelta(days=14),
                    "conversion_known_at": pd.Timestamp(moment, tz="UTC") + pd.Timedelta(days=29),
                }
            )
        if examples:
            frame = pd.DataFrame(examples)
            self.write("training_examples", frame.astype({"has_converted": "boolean", "has_returned": "boolean"}))
        self._write_features(sorted(keys), 1.0, draw)
        self.write(
            "eligible_user_channels", [{"as_of_date": DAY, "user_id": name, "channel": "email"} for name in names[::2]]
        )
        if events:
            self.write(
                "open_events",
                [
                    {
                        "as_of_date": DAY,
                        "event_id": f"event {number}",
                        "event_type": "bonus" if number % 2 == 0 else "never seen",
                        "title": "An event",
                        "starts_at": pd.Timestamp("2024-05-01", tz="UTC"),
                        "ends_at": pd.Timestamp("2024-07-01", tz="UTC"),
                        "reward_cost": 0.5 + number,
                        "contact_cost": 0.1,
                    }
                    for number in range(events)
                ],
            )

    def _write_features(self, keys: list[tuple[str, date]], inactive_share: float, draw: np.random.Generator) -> None:
        if not keys:
            return
        count = len(keys)
        frame = pd.DataFrame(keys, columns=["user_id", "as_of_date"])
        days = draw.integers(30, 300, count)
        self.write(
            "feat_user_behaviour",
            frame.assign(
                is_inactive=draw.random(count) < inactive_share,
                days_since_first_activity=days + 1 + 15 * draw.integers(1, 12, count),
                days_since_last_activity=days,
                active_days_count_life=1 + draw.integers(1, 12, count),
                sessions_count_90d=draw.poisson(3, count),
                is_new=draw.random(count) < 0.5,
                last_activity_at=pd.Timestamp("2024-01-01", tz="UTC"),
            ),
        )
        self.write(
            "feat_user_money",
            frame.assign(
                repeat_purchase_days_count=draw.poisson(2, count),
                purchase_recency_days=np.minimum(draw.integers(1, 200, count), 300),
                purchase_age_days=draw.integers(200, 400, count),
                repeat_purchase_mean_amount=5 + 10 * draw.random(count),
                payments_mean_amount=5 + 10 * draw.random(count),
            ),
        )
        self.write("feat_user_profile", frame.assign(country=draw.choice(["DE", "FR"], count)))
        for event_type in ("bonus", "never seen"):
            self.write(
                "feat_user_event_types",
                frame.assign(event_type=event_type, past_responses_count=draw.poisson(0.5, count)),
            )
