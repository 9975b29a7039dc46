"""A small company whose data fits on a page, and the chain run on it in this process."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest

from local import chain
from ml.contracts import StageReport
from tests.dbt_project.building import run_dbt_here
from warehouse.door import Warehouse
from warehouse.settings import Settings, load_settings

AS_OF = date(2026, 3, 1)
FIRST_DAY = datetime(2025, 9, 1, tzinfo=UTC)
TABLES = ("users", "sessions", "payments", "events", "exposures", "responses", "consents")

Source = dict[str, pd.DataFrame]


def small_company(user_count: int = 300, seed: int = 7) -> Source:
    """Half a year of a small game: regulars, faders and users long gone; four past events, two open ones."""
    random = np.random.default_rng(seed)
    days = (datetime.combine(AS_OF, datetime.min.time(), UTC) - FIRST_DAY).days
    users = pd.DataFrame(
        {
            "user_id": [f"user-{number:04d}" for number in range(user_count)],
            "registered_at": [
                FIRST_DAY + timedelta(hours=int(hour)) for hour in random.integers(0, 24 * 20, user_count)
            ],
            "country": random.choice(["DE", "FR", "US"], user_count),
        }
    )
    # Two thirds stop coming somewhere on the way; some of them look in again now and then.
    last_day = np.where(random.random(user_count) < 0.35, days, random.integers(25, days, user_count))
    rows = []
    for user, stops in zip(users["user_id"], last_day, strict=True):
        visits = set(range(20 + int(random.integers(0, 5)), int(stops), int(random.integers(1, 6))))
        visits |= {
            int(day) for day in random.integers(int(stops), days + 1, 2) if random.random() < 0.5 and stops < day < days
        }
        rows += [(user, day) for day in sorted(visits)]
    visits_frame = pd.DataFrame(rows, columns=["user_id", "day"])
    seconds = random.integers(0, 86_400, len(visits_frame))
    sessions = pd.DataFrame(
        {
            "session_id": [f"session-{number:06d}" for number in range(len(visits_frame))],
            "user_id": visits_frame["user_id"],
            "started_at": [
                FIRST_DAY + timedelta(days=int(day), seconds=int(second))
                for day, second in zip(visits_frame["day"], seconds, strict=True)
            ],
            "duration_seconds": random.integers(30, 3600, len(visits_frame)),
            "device_type": "mobile",
        }
    )
    paying = sessions.sample(frac=0.12, random_state=seed)
    payments = pd.DataFrame(
        {
            "payment_id": [f"payment-{number:05d}" for number in range(len(paying))],
            "user_id": paying["user_id"].to_numpy(),
            "paid_at": paying["started_at"].to_numpy(),
            "amount": np.round(random.lognormal(2, 0.8, len(paying)) + 0.01, 2),
            "currency": "EUR",
            "kind": "purchase",
        }
    )
    starts = [60, 90, 115, 140, 175, 178]
    events = pd.DataFrame(
        {
            "event_id": [f"event-{number}" for number in range(6)],
            "event_type": ["tournament", "bonus", "tournament", "bonus", "tournament", "bonus"],
            "title": [f"Event {number}" for number in range(6)],
            "starts_at": [FIRST_DAY + timedelta(days=start) for start in starts],
            "ends_at": [FIRST_DAY + timedelta(days=start + 12) for start in starts],
            "reward_cost": 0.5,
            "contact_cost": 0.01,
            "capacity": [None, None, None, None, 40, None],
        }
    )
    exposed = []
    for event, start in zip(events["event_id"][:4], starts[:4], strict=True):
        for user in random.choice(users["user_id"], user_count // 2, replace=False):
            exposed.append((event, user, start, "treated" if random.random() < 0.7 else "control"))
    exposures = pd.DataFrame(exposed, columns=["event_id", "user_id", "start", "arm"])
    exposures["exposure_id"] = [f"exposure-{number:05d}" for number in range(len(exposures))]
    exposures["exposed_at"] = pd.to_datetime(
        [FIRST_DAY + timedelta(days=int(start), hours=9) for start in exposures.pop("start")], utc=True
    )
    exposures["channel"] = np.where(exposures["arm"] == "treated", "email", "none")
    exposures["assignment_probability"] = 0.7
    answered = exposures[exposures["arm"] == "treated"].sample(frac=0.1, random_state=seed)
    responses = pd.DataFrame(
        {
            "response_id": [f"response-{number:04d}" for number in range(len(answered))],
            "event_id": answered["event_id"].to_numpy(),
            "user_id": answered["user_id"].to_numpy(),
            "responded_at": (answered["exposed_at"] + timedelta(days=1)).to_numpy(),
        }
    )
    consents = pd.DataFrame(
        {
            "consent_id": [f"consent-{number:04d}" for number in range(user_count)],
            "user_id": users["user_id"],
            "channel": "email",
            "purpose": "marketing",
            "is_granted": random.random(user_count) < 0.9,
            "decided_at": FIRST_DAY,
        }
    )
    return dict(zip(TABLES, (users, sessions, payments, events, exposures, responses, consents), strict=True))


def write_source(folder: Path, source: Source) -> Path:
    """Write the tables as CSV files."""
    folder.mkdir(parents=True, exist_ok=True)
    for table, frame in source.items():
        frame.to_csv(folder / f"{table}.csv", index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    return folder


@pytest.fixture(scope="session")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One MLflow database for all worlds: making it takes longer than a world."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


class Company:
    """A source folder, a state folder and the warehouse its chain is run in."""

    def __init__(self, folder: Path, warehouse_url: str, tracking_uri: str) -> None:
        self.folder = folder / "source"
        self.folder.mkdir(parents=True)
        self.warehouse = Warehouse(warehouse_url)
        self.environment = {
            "REKINDLE_STATE": str(folder / "state"),
            "REKINDLE_SOURCE": str(self.folder),
            "WAREHOUSE_URL": warehouse_url,
            "MLFLOW_TRACKING_URI": tracking_uri,
        }

    @property
    def settings(self) -> Settings:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            return load_settings()

    def write(self, source: Source) -> None:
        write_source(self.folder, source)

    def run(self, as_of_date: date = AS_OF, until: str | None = None) -> list[StageReport]:
        """Run the chain, all of it in this process: to start dbt and to read its project takes longer than to build."""
        with mock.patch.object(chain, "run_dbt", run_dbt_here):
            return chain.run_chain(self.settings, as_of_date, until=until)

    def digest(self, relation: str) -> str:
        """The sha256 of a relation's rows, whatever their order."""
        frame = self.warehouse.read_frame(f"select cast(t as text) as row from {relation} as t")
        return hashlib.sha256("\n".join(sorted(frame["row"])).encode()).hexdigest()

    def count(self, relation: str, condition: str = "true") -> int:
        return int(self.warehouse.scalar(f"select count(*) from {relation} where {condition}"))


@pytest.fixture
def make_company(tmp_path: Path, make_warehouse_url: Callable[..., str], tracking_uri: str) -> Callable[..., Company]:
    """Companies with folders, states and warehouses of their own: empty, or as those of another one are."""
    numbers = count()

    def make(like: Company | None = None) -> Company:
        folder = tmp_path / f"company-{next(numbers)}"
        company = Company(folder, make_warehouse_url(like.warehouse.url if like else ""), tracking_uri)
        if like is not None:
            shutil.copytree(like.folder.parent, folder, dirs_exist_ok=True)
        return company

    return make


@pytest.fixture
def company(make_company: Callable[..., Company]) -> Company:
    """One company."""
    return make_company()


@pytest.fixture
def messages() -> Callable[[list[StageReport]], str]:
    """All that the stages said, in one text."""
    return lambda reports: "\n".join(message for report in reports for message in report.messages)
