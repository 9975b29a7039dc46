"""The chain on a small company: what comes out, that it comes out the same again, and what bad input does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import pandas as pd
import pytest

from expectations.gate import GateClosedError, validate_landed
from tests.end_to_end.conftest import AS_OF, Company, small_company
from warehouse.landing import LandingError

TARGET_COLUMNS = (
    "as_of_date, user_id, rank, segment, event_id, event_type, channel, arm, p_return, p_return_if_not_contacted, "
    "uplift, p_conversion, lifetime_value, value_score, expected_incremental_value, cost, model_version, reason"
)


def test_the_chain_ends_in_targets_that_keep_every_promise_and_come_out_the_same_again(company: Company) -> None:
    """One decision for every inactive user; budget, capacity, consent and channel kept; a rerun is a replacement."""
    company.write(small_company())
    (company.folder / "rekindle.toml").write_text("budget = 12.0\n")
    company.run()

    warehouse = company.warehouse
    inactive = company.count("features.feat_user_behaviour", f"is_inactive and as_of_date = '{AS_OF}'")
    assert inactive > 50
    assert company.count("predictions.decisions") == inactive
    targets = warehouse.read_frame(f"select {TARGET_COLUMNS} from marketing.targets order by rank")
    assert len(targets) == company.count("predictions.decisions", "decision = 'target'") > 0
    assert targets["rank"].tolist() == list(range(1, len(targets) + 1))
    assert targets["user_id"].is_unique
    assert targets["cost"].sum() <= 12.0
    assert (targets["event_id"] == "event-4").sum() <= 40
    assert set(targets["event_id"]) <= {"event-4", "event-5"}
    assert targets["reason"].str.len().min() > 0
    granted = small_company()["consents"].query("is_granted")["user_id"]
    assert set(targets["user_id"]) <= set(granted)
    assert set(targets["channel"]) == {"email"}
    assert company.count("marketing.top_users") == inactive
    assert warehouse.scalar("select sum(size) from marketing.segment_profiles") == inactive

    [version] = warehouse.read_frame("select version from predictions.model_versions where status = 'champion'")[
        "version"
    ]
    for table in ("user_activity", "segments", "user_scores", "response_scores", "decisions", "event_effects"):
        assert company.count(f"predictions.{table}") == company.count(
            f"predictions.{table}", f"model_version = '{version}'"
        ), f"not every row of predictions.{table} carries the version"

    relations = ("marketing.targets", "predictions.decisions", "marketing.top_users", "predictions.response_scores")
    before = {relation: company.digest(relation) for relation in relations}
    company.run()
    assert {relation: company.digest(relation) for relation in relations} == before


def test_shuffled_and_repeated_rows_change_nothing(make_company: Callable[[], Company]) -> None:
    """D2, D3: order and exact duplicates of the input do not reach the targets."""
    source = small_company()
    company, other = make_company(), make_company()
    company.write(source)
    company.run()
    shuffled = {
        table: pd.concat([frame, frame.head(20)]).sample(frac=1, random_state=3) for table, frame in source.items()
    }
    other.write(shuffled)
    other.run()
    for relation in ("predictions.decisions", "marketing.targets"):
        assert other.digest(relation) == company.digest(relation)


def test_cold_start_without_payments_events_and_exposures_says_what_is_missing(company: Company, messages) -> None:
    source = small_company()
    company.write({table: source[table] for table in ("users", "sessions")})
    said = messages(company.run())
    for table in ("payments", "events", "exposures"):
        assert table in said
    assert company.count("predictions.decisions") > 50
    assert company.count("predictions.decisions", "decision <> 'no_event'") == 0
    assert company.count("marketing.targets") == 0
    assert company.count("marketing.top_users") == company.count("predictions.decisions")


def test_events_without_exposures_propose_a_randomised_first_plan(company: Company, messages) -> None:
    source = small_company()
    company.write({table: source[table] for table in ("users", "sessions", "payments", "events", "consents")})
    said = messages(company.run())
    assert "random" in said
    targets = company.warehouse.read_frame("select arm, uplift from marketing.targets")
    assert len(targets) > 0
    assert set(targets["arm"]) == {"random"}
    # Nothing is known of any effect, and nothing is shown: not even what rounding leaves.
    assert (targets["uplift"] == 0).all()
    chances = company.warehouse.read_frame("select propensity from predictions.decisions where decision = 'target'")
    assert chances["propensity"].between(0, 1, inclusive="neither").all()


def test_a_date_before_all_data_is_refused_with_advice(company: Company) -> None:
    company.write(small_company(user_count=40))
    with pytest.raises(GateClosedError, match="later as_of_date"):
        company.run(date(2001, 1, 1))
    assert company.count("predictions.decisions") == 0


def test_no_open_event_decides_no_event_for_everybody(company: Company, messages) -> None:
    source = small_company()
    source["events"] = source["events"].head(4)
    company.write(source)
    said = messages(company.run())
    assert "open" in said
    assert company.count("predictions.decisions") > 50
    assert company.count("predictions.decisions", "decision <> 'no_event'") == 0
    assert company.count("marketing.targets") == 0


def test_all_users_active_is_no_error(company: Company, messages) -> None:
    source = small_company(user_count=30)
    last = source["sessions"].groupby("user_id").head(1).copy()
    last["session_id"] = "last-" + last["session_id"]
    last["started_at"] = pd.Timestamp(AS_OF, tz="UTC") - timedelta(days=2)
    source["sessions"] = pd.concat([source["sessions"], last])
    company.write(source)
    said = messages(company.run())
    assert "Nobody is inactive" in said
    assert company.count("predictions.decisions") == 0
    assert company.count("marketing.targets") == 0


def test_one_user_is_enough(company: Company) -> None:
    source = small_company(user_count=1)
    source["users"]["registered_at"] = pd.Timestamp("2025-09-01", tz="UTC")
    source["sessions"] = source["sessions"].head(1)
    source["sessions"]["started_at"] = pd.Timestamp("2025-10-01", tz="UTC")
    company.write(source)
    company.run()
    assert company.count("predictions.decisions") == 1


def test_strange_ids_times_and_amounts_reach_the_targets_unharmed(company: Company) -> None:
    """Ids with quotes, emoji and newlines, the year 2262, offsets, an amount of 1e12; an amount of 0 is refused."""
    source = small_company()
    names = {
        "user-0000": 'o\'neil "the, one"',
        "user-0001": "naïve 🎲 player",
        "user-0002": "two\nlines",
        "user-0003": " x ",
    }
    for frame in source.values():
        if "user_id" in frame:
            frame["user_id"] = frame["user_id"].replace(names)
    payments = source["payments"]
    payments.loc[payments.index[0], "amount"] = 1e12
    payments.loc[payments.index[1], "amount"] = 0
    sessions = source["sessions"].astype({"started_at": object})
    sessions.loc[sessions.index[0], "started_at"] = "2262-04-12T00:00:00Z"
    sessions.loc[sessions.index[1], "started_at"] = "2025-11-01T23:30:00+14:00"
    source["sessions"] = sessions
    company.write(source)
    company.run()
    landed = company.warehouse.read_frame("select user_id from raw.users")["user_id"]
    assert set(names.values()) <= set(landed)
    assert company.count("quarantine.rows", "table_name = 'payments'") == 1
    assert company.count("raw.payments", "amount = 1000000000000") == 1
    scored = company.warehouse.read_frame("select user_id, value_score from predictions.user_scores")
    known = company.warehouse.read_frame(
        f"select user_id from features.feat_user_behaviour where is_inactive and as_of_date = '{AS_OF}'"
    )
    assert set(scored["user_id"]) == set(known["user_id"])
    assert scored["value_score"].notna().all()
    assert company.count("raw.sessions", "started_at = '2025-11-01 09:30:00+00'") == 1


def test_a_mix_of_currencies_is_refused_and_leaves_the_warehouse_as_it_was(company: Company) -> None:
    source = small_company(user_count=40)
    company.write(source)
    company.run(until="land_source")
    before = {table: company.digest(f"raw.{table}") for table in source}
    more = source["payments"].head(1).assign(payment_id="another", currency="USD")
    company.write({**source, "payments": pd.concat([source["payments"], more])})
    with pytest.raises(LandingError, match="currenc"):
        company.run(until="land_source")
    assert {table: company.digest(f"raw.{table}") for table in source} == before


def test_a_closed_gate_leaves_the_old_targets_in_place(company: Company) -> None:
    """A batch that lost most of its last week stops the chain before anything is published."""
    source = small_company(user_count=900)
    company.write(source)
    company.run()
    before = company.digest("marketing.targets")
    company.warehouse.execute(
        "delete from raw.sessions where started_at > timestamptz '2026-02-22' and right(session_id, 1) <> '0'"
    )
    with pytest.raises(GateClosedError, match="last week"):
        validate_landed(AS_OF, company.settings)
    assert company.digest("marketing.targets") == before
    findings = company.count("audit.expectation_results", "not is_met and severity = 'critical'")
    assert findings == 1


def test_another_definition_of_inactivity_goes_through_the_whole_chain(company: Company, messages) -> None:
    """Users are scored, decided, checked and published by the chosen definition, and the difference is reported."""
    company.write(small_company())
    (company.folder / "rekindle.toml").write_text('[inactivity]\ndefinition = "rhythm"\n')
    said = messages(company.run())
    assert 'The setting is "rhythm".' in said
    late = company.count("predictions.user_activity", "is_inactive_rhythm")
    assert 0 < late != company.count("predictions.user_activity", "is_inactive_fixed")
    for relation in ("predictions.user_scores", "predictions.decisions", "marketing.top_users"):
        assert company.count(relation) == late
    compared = company.warehouse.read_frame("select * from reporting.inactivity_definitions").set_index("definition")
    assert compared.index[compared["is_chosen"]].tolist() == ["rhythm"]
    assert compared.loc["rhythm", "inactive_users_count"] == late
    assert compared.loc["rhythm", "added_users_count"] - compared.loc["rhythm", "removed_users_count"] == (
        late - compared.loc["fixed", "inactive_users_count"]
    )


def test_country_and_age_of_an_event_are_kept(company: Company) -> None:
    source = small_company()
    count = len(source["users"])
    # Half are far too young, and of a few no year is known.
    years = ["2014" if number % 2 else "1980" for number in range(count)]
    source["users"]["birth_year"] = ["" if number % 10 == 0 else year for number, year in enumerate(years)]
    company.write(source)
    limits = 'countries = ["DE"]\nminimum_age = 18\n'
    (company.folder / "rekindle.toml").write_text(f"[events.tournament]\n{limits}[events.bonus]\n{limits}")
    company.run()
    invited = company.warehouse.read_frame("select user_id from marketing.targets")["user_id"]
    assert len(invited) > 3
    users = source["users"].set_index("user_id").loc[invited]
    assert set(users["country"]) == {"DE"}
    assert set(users["birth_year"]) == {"1980"}
