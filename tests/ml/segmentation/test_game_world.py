"""Kinds of players that the game world plants are found again, and keep their names when new data come."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from local.samples.game_world import simulate
from local.samples.game_world.parameters import SCHEDULES
from ml.segmentation import UserSegmenter

END = pd.Timestamp("2026-01-01", tz="UTC")


@pytest.fixture(scope="module")
def world() -> tuple[pd.DataFrame, pd.Series]:
    """Sessions of a small world, and the schedule that each player was given: a hidden trait that no table tells."""
    server, made = next(iter(simulate(2_500, 7, "slopes")))
    users = made.tables["users"].to_pandas()["user_id"]
    schedule = pd.Series([SCHEDULES[number] for number in server.players.schedule], index=users)
    return made.tables["sessions"].to_pandas()[["user_id", "started_at"]], schedule


def rhythms(sessions: pd.DataFrame, until: pd.Timestamp, *, least: int) -> pd.DataFrame:
    """When players with so many sessions play, as features.feat_user_rhythm has it."""
    seen = sessions[(sessions["started_at"] >= pd.Timestamp("2024-07-01", tz="UTC")) & (sessions["started_at"] < until)]
    moment = seen["started_at"].dt
    quarter = moment.hour // 6
    shares = pd.DataFrame(
        {
            "user_id": seen["user_id"],
            "weekend_share": (moment.day_of_week >= 5).astype(float),
            **{
                f"{part}_share": (quarter == number).astype(float)
                for number, part in enumerate(("night", "morning", "afternoon", "evening"))
            },
        }
    ).groupby("user_id")
    return shares.mean()[shares.size() >= least]


@pytest.mark.parametrize(("least", "floor"), [(10, 0.65), (40, 0.95)])
def test_planted_schedules_are_found(world: tuple[pd.DataFrame, pd.Series], least: int, floor: float) -> None:
    """The more is seen of a player, the better; with forty sessions hardly anybody is taken for another kind."""
    sessions, schedule = world
    features = rhythms(sessions, END, least=least)
    segmenter = UserSegmenter(random_state=1).fit(features)
    assert adjusted_rand_score(schedule[features.index], segmenter.predict(features)) >= floor
    assert {"Night visitors", "Weekend visitors"} <= set(segmenter.names_)


def test_who_did_not_change_keeps_the_segment_after_four_more_weeks(world: tuple[pd.DataFrame, pd.Series]) -> None:
    sessions, _ = world
    earlier, later = (rhythms(sessions, until, least=10) for until in (END - pd.Timedelta(days=28), END))
    before = UserSegmenter(random_state=1).fit(earlier)
    after = UserSegmenter(random_state=2).fit(later, previous=before)
    same = earlier.index[(later.reindex(earlier.index) == earlier).all(axis=1)]
    assert 0.5 * len(earlier) < len(same) < len(earlier)
    assert len(later) > len(earlier)
    kept = np.mean(before.predict(earlier.loc[same]) == after.predict(later.loc[same]))
    assert kept >= 0.95
