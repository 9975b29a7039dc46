"""A company whose cup brings ten more users of a hundred back and whose letter none: the plan knows the difference."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from tests.end_to_end.conftest import AS_OF, FIRST_DAY, Company, Source

EFFECT = 0.10
TREATED = 0.6
LAST_DAY = (datetime.combine(AS_OF, datetime.min.time(), UTC) - FIRST_DAY).days


def _at(days: float) -> datetime:
    return FIRST_DAY + timedelta(seconds=int(days * 86_400))


def company_with_a_known_effect(users: int = 3_000) -> Source:
    """Users who stop at some time; three past campaigns drawn at random, two of a cup and one of a letter."""
    random = np.random.default_rng(5)
    names = [f"user-{number:04d}" for number in range(users)]
    last = random.uniform(35, LAST_DAY, users)
    last[: users // 8] = LAST_DAY
    days = {
        name: [*np.arange(31, stops - 1, random.uniform(3, 15)), stops - 0.01]
        for name, stops in zip(names, last, strict=True)
    }
    for seen in days.values():
        # Some come back on their own: five of a hundred in two weeks.
        seen += [day for day in np.cumsum([seen[-1], *random.exponential(14 / 0.05, 3)])[1:] if day < LAST_DAY]
    exposures, payments = [], []
    for event, day in (("cup-1", 80.0), ("cup-2", 110.0), ("letter-1", 130.0)):
        for name, seen in days.items():
            if any(day - 31 < moment < day for moment in seen) or min(seen) > day:
                continue
            is_treated = random.random() < TREATED
            exposures.append((event, name, _at(day), "treated" if is_treated else "control"))
            if random.random() < EFFECT * (is_treated and event.startswith("cup")):
                seen.append(day + random.uniform(1, 10))
            if any(day < moment < day + 14 for moment in seen) and random.random() < 0.6:
                payments.append((name, _at(day + 15), round(float(random.lognormal(2, 0.5)), 2)))
    visits = [(name, _at(day)) for name, seen in days.items() for day in seen]
    events = pd.DataFrame(
        [("cup-1", 80), ("cup-2", 110), ("letter-1", 130), ("cup-3", 176), ("letter-2", 176)],
        columns=["event_id", "day"],
    )
    return {
        "users": pd.DataFrame({"user_id": names, "registered_at": _at(30)}),
        "sessions": pd.DataFrame(visits, columns=["user_id", "started_at"]).assign(
            session_id=[f"session-{number}" for number in range(len(visits))], duration_seconds=600
        ),
        "events": pd.DataFrame(
            {
                "event_id": events["event_id"],
                "event_type": events["event_id"].str.split("-").str[0],
                "title": events["event_id"],
                "starts_at": [_at(day) for day in events["day"]],
                "ends_at": [_at(day + 20) for day in events["day"]],
                "reward_cost": 0.1,
                "contact_cost": 0.02,
            }
        ),
        "exposures": pd.DataFrame(exposures, columns=["event_id", "user_id", "exposed_at", "arm"]).assign(
            exposure_id=[f"exposure-{number}" for number in range(len(exposures))],
            channel="email",
            assignment_probability=TREATED,
        ),
        "payments": pd.DataFrame(payments, columns=["user_id", "paid_at", "amount"]).assign(
            payment_id=[f"payment-{number}" for number in range(len(payments))], currency="EUR", kind="purchase"
        ),
        "consents": pd.DataFrame({"user_id": names}).assign(
            consent_id=[f"consent-{number}" for number in range(users)],
            channel="email",
            purpose="marketing",
            is_granted=True,
            decided_at=_at(30),
        ),
    }


def test_who_is_invited_to_what_follows_the_effect(company: Company) -> None:
    company.write(company_with_a_known_effect())
    # Many stop within the last days, and that is meant.
    (company.folder / "rekindle.toml").write_text("[alerts]\nminimum_volume_ratio = 0\n")
    company.run()
    warehouse = company.warehouse

    effects = warehouse.read_frame(
        "select event_type, effect, low, high, evidence from marketing.event_effects where segment = 'all'"
    ).set_index("event_type")
    assert set(effects["evidence"]) == {"randomised"}
    error = (effects["high"] - effects["low"]) / 3.92
    # Who would have returned anyway cannot be brought back.
    assert abs(effects.loc["cup", "effect"] - 0.95 * EFFECT) < 3 * error["cup"]
    assert effects.loc["cup", "low"] > 0
    assert effects.loc["letter", "low"] < 0 < effects.loc["letter", "high"]

    targets = warehouse.read_frame("select event_type, arm, uplift, expected_incremental_value from marketing.targets")
    chosen = targets[targets["arm"] == "targeted"]
    assert len(chosen) > 500
    assert set(chosen["event_type"]) == {"cup"}
    assert abs(chosen["uplift"].mean() - effects.loc["cup", "effect"]) < 0.03
    assert chosen["expected_incremental_value"].min() > 0
    scores = warehouse.read_frame(
        "select uplift - (p_return - p_return_if_not_contacted) as gap from predictions.response_scores"
    )
    assert scores["gap"].abs().max() < 1e-12
