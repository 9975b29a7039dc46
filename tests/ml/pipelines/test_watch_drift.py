"""Drift is found where it was planted, written with its limits, and asks for new models once."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from ml.drift import Histogram, kolmogorov_smirnov, population_stability_index
from ml.pipelines.histograms import Bins, Variables, read_bins, read_histograms
from ml.pipelines.score import score_users
from ml.pipelines.train import train_models
from ml.pipelines.watch_drift import needs_retraining, watch_drift
from tests.ml.pipelines.house import DAY, House

LATER = DAY + timedelta(days=20)
MARTS = """
create schema if not exists marts;
create table marts.fct_exposures (user_id text, exposed_at timestamptz, arm text);
create table marts.fct_user_days (user_id text, activity_date date);
"""
# A check of another stage.
TOO_LATE = (
    'insert into audit.health_checks (as_of_date, "check", status, value)'
    " values (%s, 'rows that came too late', 'warning', 1)"
)


@pytest.fixture
def watched(house: House) -> House:
    """A house with a champion of DAY, and the same users as of LATER."""
    house.fill(users=600, inactive_share=0.9)
    with house.warehouse.transaction() as connection:
        connection.execute(MARTS)
    train_models(DAY, house.settings)
    for table in ("feat_user_behaviour", "feat_user_money", "feat_user_profile"):
        columns = house.warehouse.scalar(
            "select string_agg(column_name, ', ') from information_schema.columns"
            " where table_schema = 'features' and table_name = %s and column_name <> 'as_of_date'",
            (table,),
        )
        house.warehouse.execute(
            f"insert into features.{table} (as_of_date, {columns}) select %s, {columns} from features.{table}"
            " where as_of_date = %s",
            (LATER, DAY),
        )
    return house


def rows(house: House, subject: str) -> pd.DataFrame:
    statement = "select * from predictions.drift where as_of_date = %s and subject = %s"
    return house.warehouse.read_frame(statement, (LATER, subject)).set_index("variable")


def checks(house: House) -> dict[str, str]:
    frame = house.warehouse.read_frame(
        'select "check" as name, status from audit.health_checks where as_of_date = %s', (LATER,)
    )
    return dict(zip(frame["name"], frame["status"], strict=True))


def test_the_same_users_have_not_drifted_and_a_rerun_gives_the_same_rows(watched: House) -> None:
    report = watch_drift(LATER, watched.settings)
    found = rows(watched, "feature")
    assert {"sessions_count_90d", "country", "is_new", "is_inactive"} <= set(found.index)
    assert (found["psi"] == 0).all()
    assert (found["ks"].dropna() == 0).all()
    assert set(found["status"]) == {"ok"}
    assert report.details["status"] == "ok"
    assert checks(watched)["calibration of the chance to return"] == "unknown"
    assert not needs_retraining(watched.warehouse, LATER, DAY)
    watched.warehouse.execute(TOO_LATE, (LATER,))
    assert checks(watched)["models that MLflow does not show"] == "ok"
    # Nobody listens there: what cannot be shown is said, and nothing else changes.
    late = watch_drift(LATER, replace(watched.settings, tracking_uri="http://127.0.0.1:1"))
    assert any("The models are safe" in message for message in late.messages)
    assert checks(watched)["models that MLflow does not show"] == "warning"
    assert checks(watched)["rows that came too late"] == "warning"
    assert not needs_retraining(watched.warehouse, LATER, DAY)
    pd.testing.assert_frame_equal(rows(watched, "feature"), found)
    # A model that was trained for another window than is asked for by now is due.
    due = watch_drift(LATER, replace(watched.settings, conversion_window_days=7))
    assert any("conversion_window_days was 30 and is 7" in message for message in due.messages)
    assert checks(watched)["model in charge"] == "alert"
    assert needs_retraining(watched.warehouse, LATER, DAY)


def test_planted_drift_is_found_and_asks_once_for_new_models(watched: House) -> None:
    watched.warehouse.execute(
        "update features.feat_user_behaviour set sessions_count_90d = sessions_count_90d + 3,"
        " days_since_last_activity = null, is_new = true where as_of_date = %s",
        (LATER,),
    )
    watched.warehouse.execute("update features.feat_user_profile set country = 'PL' where as_of_date = %s", (LATER,))
    report = watch_drift(LATER, watched.settings)
    found = rows(watched, "feature")
    moved = {"sessions_count_90d", "days_since_last_activity", "is_new", "country"}
    assert set(found.index[found["status"] == "alert"]) == moved
    assert found["missing_share"]["days_since_last_activity"] == 1.0
    assert found["ks"]["sessions_count_90d"] > 0.4
    assert checks(watched)["share of features that drifted"] == "alert"
    assert any("country" in message for message in report.messages)
    assert needs_retraining(watched.warehouse, LATER, DAY)
    # Who was trained on that date, or saw the alert already, is not asked again, whatever others found since.
    assert not needs_retraining(watched.warehouse, LATER, LATER)
    tomorrow, later = LATER + timedelta(days=1), LATER + timedelta(days=2)
    watched.warehouse.execute(TOO_LATE, (tomorrow,))
    watched.warehouse.execute(
        'insert into audit.health_checks (as_of_date, "check", status)'
        ' select %s, "check", status from audit.health_checks where as_of_date = %s',
        (later, LATER),
    )
    assert not needs_retraining(watched.warehouse, later, tomorrow)
    watched.warehouse.execute("delete from audit.health_checks where as_of_date > %s", (LATER,))
    patient = replace(watched.settings, retrain_after_days=1000)
    trained = train_models(LATER, patient)
    assert any("drifted" in message for message in trained.messages)
    assert train_models(LATER, patient).rows == 0


def test_chances_are_held_against_what_happened(watched: House) -> None:
    score_users(DAY, watched.settings)
    users = watched.warehouse.read_frame(
        "select user_id, p_return_if_not_contacted as chance from predictions.user_scores order by user_id"
    )
    draw = np.random.default_rng(0)

    def outcomes(chance: np.ndarray) -> str:
        watched.warehouse.execute("delete from marts.fct_user_days")
        back = users["user_id"][draw.random(len(users)) < chance]
        days = pd.DataFrame({"user_id": back, "activity_date": DAY + timedelta(days=3)})
        with watched.warehouse.transaction() as connection:
            watched.warehouse.copy_frame(connection, "marts.fct_user_days", days)
        watch_drift(LATER, watched.settings)
        return checks(watched)["calibration of the chance to return"]

    assert outcomes(users["chance"].to_numpy()) == "ok"
    assert outcomes(users["chance"].to_numpy() + 0.25) == "alert"
    # Whoever was invited in between is no witness.
    watched.warehouse.execute(
        "insert into marts.fct_exposures select user_id, timestamptz '2024-06-02', 'treated'"
        " from predictions.user_scores"
    )
    watch_drift(LATER, watched.settings)
    assert checks(watched)["calibration of the chance to return"] == "unknown"


def test_histograms_in_postgres_are_those_of_numpy(house: House) -> None:
    draw = np.random.default_rng(2)
    house.warehouse.execute("create table features.sample (user_id text, as_of_date date, x float8, word text)")
    numbers = np.round(draw.normal(size=400), 2)
    frame = pd.DataFrame({"user_id": [f"u{n}" for n in range(400)], "as_of_date": DAY, "x": numbers, "word": "a'b"})
    frame.loc[:9, "x"] = np.nan
    frame.loc[::5, "word"] = None
    house.write("sample", frame)
    variables = Variables("features.sample", ("x",), ("word",), "true")
    bins = read_bins(house.warehouse, variables, DAY)
    found = read_histograms(house.warehouse, variables, DAY, bins)
    known = frame["x"].dropna()
    assert found["x"].missing == 10
    assert found["x"].counts.tolist() == np.histogram(known, [-np.inf, *bins["x"].edges, np.inf])[0].tolist()
    assert found["x"].counts[:-1].min() >= 30
    assert (found["word"].counts.tolist(), found["word"].missing) == ([0, 320], 80)
    shifted = read_histograms(house.warehouse, variables, DAY, {"x": Bins(edges=(known.max() + 1,)), "word": Bins()})
    assert shifted["x"].counts.tolist() == [390, 0]
    assert shifted["word"].counts.tolist() == [320]
    assert population_stability_index(found["x"], found["x"]) == kolmogorov_smirnov(found["x"], found["x"]) == 0
    assert isinstance(found["x"] + found["x"], Histogram)
