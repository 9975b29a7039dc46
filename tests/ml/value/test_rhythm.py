"""Late by one's own rhythm, not by everybody's."""

import numpy as np
import pytest

from ml.value import ActivityRhythm, ValueModelError, compare_definitions


@pytest.fixture(scope="module")
def rhythm() -> ActivityRhythm:
    """Learned from users whose rates are Gamma(0.8, 12) a day."""
    random = np.random.default_rng(0)
    rate = random.gamma(0.8, 1 / 12.0, 50_000)
    gaps = random.integers(1, 40, 50_000)
    return ActivityRhythm().fit(gaps + 1, random.gamma(gaps, 1 / rate))


def test_the_planted_rhythm_is_found(rhythm: ActivityRhythm) -> None:
    assert rhythm.shape_ == pytest.approx(0.8, rel=0.03)
    assert rhythm.scale_ == pytest.approx(12.0, rel=0.03)


def test_yearly_visitor_and_daily_player(rhythm: ActivityRhythm) -> None:
    # Five visits a year apart; three hundred days of play in a row; one visit only.
    users = rhythm.describe([5, 300, 1], [4 * 365, 299, 0], [40, 10, 40])
    assert users["is_late"].tolist()[:2] == [False, True]
    assert 200 < users["usual_gap_days"][0] < 400
    assert users["days_late"][0] == 0
    assert users["usual_gap_days"][1] < 1.5
    assert users["days_late"][1] == pytest.approx(10 - users["usual_gap_days"][1])
    assert not users["is_late"][2]


def test_lateness_means_what_it_says(rhythm: ActivityRhythm) -> None:
    """Of silences drawn from the users' own rates one in twenty is called late."""
    random = np.random.default_rng(1)
    rate = random.gamma(0.8, 1 / 12.0, 100_000)
    gaps = random.integers(1, 40, 100_000)
    users = rhythm.describe(gaps + 1, random.gamma(gaps, 1 / rate), random.exponential(1 / rate))
    assert users["is_late"].mean() == pytest.approx(0.05, abs=0.004)
    assert users["p_silence"].mean() == pytest.approx(0.5, abs=0.01)


def test_nobody_came_twice_and_never_active() -> None:
    rhythm = ActivityRhythm().fit([1, np.nan], [0, np.nan])
    users = rhythm.describe([1, np.nan], [0, np.nan], [10, np.nan])
    assert users["is_late"].tolist() == [False, False]
    assert np.isfinite(users["usual_gap_days"]).all()


def test_a_user_is_judged_alone_and_state_is_kept(rhythm: ActivityRhythm) -> None:
    rebuilt = ActivityRhythm.from_state(rhythm.to_state())
    together = rebuilt.describe([5, 300], [1460, 299], [40, 10])
    assert rhythm.describe([300], [299], [10]).iloc[0].tolist() == together.iloc[1].tolist()


def test_definitions_are_compared() -> None:
    table = compare_definitions(
        {
            "fixed": np.array([True, False, True, False]),
            "rhythm": np.array([False, True, True, False]),
            "p_alive": np.array([False, False, True, False]),
        }
    )
    assert table.set_index("definition").to_dict("index") == {
        "fixed": {"users": 2, "added": 0, "removed": 0},
        "rhythm": {"users": 2, "added": 1, "removed": 1},
        "p_alive": {"users": 1, "added": 0, "removed": 1},
    }


def test_errors_say_what_to_do() -> None:
    with pytest.raises(ValueModelError, match="fit first"):
        ActivityRhythm().describe([1], [0], [1])
    with pytest.raises(ValueModelError, match="late_after"):
        ActivityRhythm(late_after=1.0)
    with pytest.raises(ValueModelError, match="span_days"):
        ActivityRhythm().fit([2], [-1])
