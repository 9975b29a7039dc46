"""What a return brings through friends is measured against what friends do anyway, and shrunk."""

import numpy as np
import pandas as pd
import pytest

from ml.value import SocialInfluence, ValueModelError, friend_sums


def test_planted_influence_is_found_and_shrunk() -> None:
    random = np.random.default_rng(0)
    users = 5_000
    own = random.beta(0.12 * 25, 0.88 * 25, users)
    friends = random.integers(0, 30, users)
    returned = random.binomial(friends, own)
    influence = SocialInfluence().fit(friends, returned, 0.05 * friends, value_of_a_return=10.0)
    assert influence.extra_rate_ == pytest.approx(0.07, abs=0.005)
    assert influence.standard_error_ == pytest.approx(0.0018, rel=0.2)
    assert influence.strength_ == pytest.approx(25, rel=0.25)
    # Shrunk estimates lie nearer to the truth than raw differences and than everybody's.
    seen = friends > 0
    shrunk = influence.extra_returns(np.ones(users), friends, returned, 0.05 * friends)[seen]
    truth = np.maximum(own[seen] - 0.05, 0.0)
    raw = returned[seen] / friends[seen] - 0.05
    error = ((shrunk - truth) ** 2).mean()
    assert error < 0.7 * ((raw - truth) ** 2).mean()
    assert error < 0.9 * ((0.07 - truth) ** 2).mean()
    money = influence.value(np.ones(users), friends, returned, 0.05 * friends)[seen]
    assert money == pytest.approx(10.0 * shrunk)


def moments(users: int, *, pull: float, seed: int) -> pd.DataFrame:
    """Friends whose rate of return depends on their silence, on their past and on the season, and on a return before.

    Users return when many do, and their friends are those who return easily: without looking at seasons and groups
    their returns would seem to bring friends back.
    """
    random = np.random.default_rng(seed)
    rows = []
    for is_after in (True, False):
        period = random.choice(4, users, p=[0.7, 0.1, 0.1, 0.1] if is_after else [0.25] * 4)
        silence = random.choice([1, 2, 3, 4], users, p=[0.5, 0.3, 0.1, 0.1] if is_after else [0.1, 0.2, 0.3, 0.4])
        lapses = random.integers(0, 3, users)
        rate = (0.02 + 0.06 * (period == 0) + 0.10 / silence + 0.03 * lapses) * (1 + pull * is_after)
        seen = random.integers(1, 4, users)
        rows.append(
            pd.DataFrame(
                {
                    "user_id": [f"user {number}" for number in range(users)],
                    "is_after_return": is_after,
                    "period_number": period,
                    "silence_group": silence,
                    "earlier_lapses_group": lapses,
                    "inactive_friends_count": seen.astype(float),
                    "returned_friends_count": random.binomial(seen, rate).astype(float),
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def test_influence_is_told_from_seasons_and_from_friends_who_return_easily() -> None:
    truth = moments(20_000, pull=0.0, seed=1)
    sums = friend_sums(truth)
    assert sums["returned"].sum() / sums["seen"].sum() > 1.5 * (
        truth.loc[~truth["is_after_return"], "returned_friends_count"].sum()
        / truth.loc[~truth["is_after_return"], "inactive_friends_count"].sum()
    ), "raw rates must differ, or this test shows nothing"
    nothing = SocialInfluence().fit(**sums)
    assert nothing.extra_rate_ < 0.003
    sums = friend_sums(moments(20_000, pull=0.3, seed=2))
    pulled = SocialInfluence().fit(**sums)
    planted = sums["returned"].sum() / sums["seen"].sum() * 0.3 / 1.3
    assert pulled.extra_rate_ == pytest.approx(planted, rel=0.15)


def test_chance_alone_brings_nobody_anything() -> None:
    random = np.random.default_rng(5)
    credited = []
    for _ in range(200):
        friends = np.full(300, 3)
        influence = SocialInfluence().fit(friends, random.binomial(friends, 0.1), 0.1 * friends)
        credited.append(influence.extra_rate_)
    assert np.mean(np.array(credited) == 0) > 0.75
    assert np.mean(credited) < 0.003


def test_friends_who_return_anyway_are_not_credited() -> None:
    influence = SocialInfluence().fit([1000.0], [100.0], [100.0], value_of_a_return=50.0)
    assert influence.value([5.0], [1000.0], [100.0], [100.0]).tolist() == [0.0]


def test_nothing_seen_counts_as_nothing_and_is_said() -> None:
    influence = SocialInfluence().fit([0.0, 0.0], [0.0, 0.0], [0.0, 0.0], value_of_a_return=9.0)
    assert "No return with inactive friends" in influence.messages_[0]
    assert influence.value([3.0, np.nan], [0, 0], [0, 0], [0, 0]).tolist() == [0.0, 0.0]
    no_moments = moments(3, pull=0.0, seed=0).head(0)
    assert SocialInfluence().fit(**friend_sums(no_moments)).messages_


def test_a_user_is_judged_alone_and_state_is_kept() -> None:
    sums = friend_sums(moments(2_000, pull=0.5, seed=3))
    influence = SocialInfluence().fit(**sums, value_of_a_return=2.5)
    rebuilt = SocialInfluence.from_state(influence.to_state())
    together = rebuilt.value(np.arange(2_000.0), **sums)
    assert together.tolist() == influence.value(np.arange(2_000.0), **sums).tolist()
    assert [rebuilt.value([float(row)], **sums.iloc[[row]])[0] for row in range(50)] == together[:50].tolist()


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueModelError, match="returned <= friends"):
        SocialInfluence().fit([1.0], [2.0], [1.0])
