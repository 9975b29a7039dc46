"""What a return brings through friends is measured against what friends do anyway, and shrunk."""

import numpy as np
import pytest

from ml.value import SocialInfluence, ValueModelError


def test_planted_influence_is_found_and_shrunk() -> None:
    random = np.random.default_rng(0)
    users = 5_000
    own = random.beta(0.12 * 25, 0.88 * 25, users)
    friends = random.integers(0, 30, users)
    returned = random.binomial(friends, own)
    others = random.integers(0, 60, users)
    influence = SocialInfluence().fit(friends, returned, others, random.binomial(others, 0.05))
    assert influence.rate_after_return_ == pytest.approx(0.12, abs=0.005)
    assert influence.rate_otherwise_ == pytest.approx(0.05, abs=0.003)
    assert influence.strength_ == pytest.approx(25, rel=0.25)
    # Shrunk estimates lie nearer to the truth than raw rates and than everybody's rate.
    seen = friends > 0
    raw = returned[seen] / friends[seen]
    # Nobody is so bad that the difference to 5 % is cut off in the comparison: rates are compared.
    shrunk = influence.extra_returns(np.ones(users), friends, returned)[seen] + 0.05
    truth = np.maximum(own[seen], 0.05)
    error = ((shrunk - truth) ** 2).mean()
    assert error < 0.7 * ((raw - truth) ** 2).mean()
    assert error < 0.9 * ((0.12 - truth) ** 2).mean()


def test_friends_who_return_anyway_are_not_credited() -> None:
    influence = SocialInfluence().fit([1000.0], [100.0], [1000.0], [100.0])
    assert influence.value([5.0], [1000.0], [100.0], value_of_a_return=50.0) == pytest.approx([0.0])


def test_nothing_seen_counts_as_nothing_and_is_said() -> None:
    influence = SocialInfluence().fit([0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0])
    assert "No return with inactive friends" in influence.messages_[0]
    assert influence.value([3.0, np.nan], [0, 0], [0, 0], value_of_a_return=9.0).tolist() == [0.0, 0.0]


def test_users_alike_get_the_same_and_state_is_kept() -> None:
    random = np.random.default_rng(3)
    friends = np.full(2_000, 10)
    influence = SocialInfluence().fit(friends, random.binomial(friends, 0.2), friends, random.binomial(friends, 0.1))
    assert influence.strength_ > 200
    rebuilt = SocialInfluence.from_state(influence.to_state())
    assert (
        rebuilt.extra_returns([2, 2], [10, 0], [4, 0]).tolist()
        == influence.extra_returns([2, 2], [10, 0], [4, 0]).tolist()
    )


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueModelError, match="returned <= friends"):
        SocialInfluence().fit([1.0], [2.0], [1.0], [0.0])
