"""Who is inactive by which definition, and that the chosen one decides who is scored and may be invited."""

from dataclasses import replace
from datetime import date

import pytest

from ml.pipelines.matrix import response_matrix
from ml.pipelines.score import score_users
from ml.pipelines.train import train_models
from tests.ml.pipelines.house import DAY, House
from warehouse.settings import Settings


def chosen(settings: Settings, definition: str) -> Settings:
    return replace(settings, inactivity=replace(settings.inactivity, definition=definition))


def add_personas(house: House) -> None:
    """A visitor who comes once a year and came 40 days ago, a daily player silent for 10 days, and who never came."""
    for user, is_inactive, first, last, days in (
        ("daily player", False, 309, 10, 300),
        ("yearly visitor", True, 4 * 365 + 40, 40, 5),
        ("never active", True, None, None, 0),
    ):
        house.warehouse.execute(
            "insert into features.feat_user_behaviour (user_id, as_of_date, is_inactive, days_since_first_activity,"
            " days_since_last_activity, active_days_count_life, sessions_count_90d) values (%s, %s, %s, %s, %s, %s, 1)",
            (user, DAY, is_inactive, first, last, days),
        )


@pytest.mark.parametrize("definition", ["fixed", "rhythm", "p_alive"])
def test_the_chosen_definition_decides_who_is_scored_and_invited(house: House, definition: str) -> None:
    house.fill(exposures=200)
    add_personas(house)
    settings = chosen(house.settings, definition)
    train_models(DAY, settings)
    report = score_users(DAY, settings)
    activity = house.warehouse.read_frame("select * from predictions.user_activity").set_index("user_id")
    everybody = house.warehouse.scalar(
        "select count(*) from features.feat_user_behaviour where as_of_date = %s", (DAY,)
    )
    assert len(activity) == everybody
    assert activity["is_inactive"].equals(activity[f"is_inactive_{definition}"])
    for table in ("user_activity", "segments", "user_scores"):
        versions = house.warehouse.read_frame(f"select distinct model_version from predictions.{table}")
        assert versions["model_version"].tolist() == [report.details["version"]], table
    lapsed = {
        name: {user for user in ("daily player", "yearly visitor", "never active") if activity.loc[user, name]}
        for name in ("is_inactive_fixed", "is_inactive_rhythm", "is_inactive_p_alive")
    }
    assert lapsed == {
        "is_inactive_fixed": {"yearly visitor", "never active"},
        "is_inactive_rhythm": {"daily player", "never active"},
        "is_inactive_p_alive": {"daily player", "never active"},
    }
    assert activity.loc["yearly visitor", "days_late"] == 0
    assert activity.loc["daily player", "days_late"] == pytest.approx(9, abs=1)
    assert activity.loc["daily player", "p_alive"] < 0.5 < activity.loc["yearly visitor", "p_alive"]
    inactive = set(activity.index[activity["is_inactive"]])
    assert set(house.warehouse.read_frame("select user_id from predictions.user_scores")["user_id"]) == inactive
    # What deciding chooses from.
    assert set(response_matrix(house.warehouse, DAY, settings).user_ids) == inactive
    added = (activity[f"is_inactive_{definition}"] & ~activity["is_inactive_fixed"]).sum()
    sentence = next(message for message in report.messages if message.startswith("Inactive by the fixed rule"))
    assert f'The setting is "{definition}".' in sentence
    assert (f"for the {added:,} added" in sentence) == (definition != "fixed")


def test_a_date_is_replaced_and_a_user_is_judged_alone(house: House) -> None:
    house.fill(exposures=200)
    add_personas(house)
    train_models(DAY, house.settings)

    def activity() -> dict[str, str]:
        score_users(DAY, house.settings)
        frame = house.warehouse.read_frame("select * from predictions.user_activity order by user_id")
        assert frame["as_of_date"].nunique() == 1
        return {row.user_id: repr(tuple(row)[3:]) for row in frame.itertuples()}

    first = activity()
    assert activity() == first
    house.warehouse.execute(
        "delete from features.feat_user_behaviour where as_of_date = %s and user_id <> 'daily player'", (DAY,)
    )
    assert activity() == {"daily player": first["daily player"]}


def test_a_date_without_features_is_refused(house: House) -> None:
    house.fill(exposures=50)
    train_models(DAY, house.settings)
    with pytest.raises(Exception, match="build_features"):
        score_users(date(2024, 6, 2), house.settings)


def test_activity_is_read_where_nobody_is_looked_up_for_it(house: House) -> None:
    house.fill(exposures=200)
    train_models(DAY, house.settings)
    house.warehouse.execute(
        "create table features.as_before as select * from features.user_sums_as_of_dates;"
        " update features.as_before set days_since_last_activity = 31, days_since_first_activity = 131,"
        " active_days_count_life = 2;"
        " create or replace view features.user_sums_as_of_dates as select * from features.as_before"
    )
    score_users(DAY, house.settings)
    gaps = house.warehouse.read_frame("select distinct usual_gap_days, days_late from predictions.user_activity")
    assert len(gaps) == 1
