"""Predicted money comes to what came in, in every segment, as far as enough came in to tell."""

import numpy as np
import pytest

from ml.value import MoneyBySegment, ValueModelError


def returns(count: int, *, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Payers bring 20 a return, others half a unit; one mean amount was predicted for the payments of all."""
    random = np.random.default_rng(seed)
    segments = np.where(random.random(count) < 0.05, "payers", "others").astype(object)
    chance = np.where(segments == "payers", 0.4, 0.04)
    amount = np.where(segments == "payers", 50.0, 12.5)
    came = np.where(random.random(count) < chance, random.gamma(1.5, amount / 1.5), 0.0)
    return segments, chance * 31.0, came


def test_money_is_calibrated_in_every_segment() -> None:
    segments, predicted, _ = returns(4_000, seed=1)
    money = MoneyBySegment().fit(*returns(4_000, seed=1))
    for name, truth in (("payers", 20.0), ("others", 0.5)):
        before = predicted[segments == name].mean() / truth
        after = before * money.factor([name])[0]
        assert abs(np.log(after)) < 0.35 < abs(np.log(before)), name


def test_errors_of_the_factors_say_how_far_off_they_are() -> None:
    """In 200 worlds with some 20 and 40 payments in two segments, what would be right lies within 1.96 errors."""
    right = {"generous": 1.3, "careful": 0.8}
    held: list[bool] = []
    for seed in range(200):
        random = np.random.default_rng(seed)
        segments = np.where(random.random(1_000) < 0.2, "generous", "careful").astype(object)
        chance = np.where(segments == "generous", 0.1, 0.05)
        mean = 30.0 * np.where(segments == "generous", 1.3, 0.8)
        came = np.where(random.random(1_000) < chance, random.gamma(1.0, mean), 0.0)
        money = MoneyBySegment().fit(segments, chance * 30.0, came)
        held += [abs(money.factors_[name] - right[name]) <= 1.96 * money.errors_[name] for name in right]
    assert 0.85 <= np.mean(held) <= 0.99
    alone, together = (MoneyBySegment().fit(*returns(1_000, seed=1), users=users) for users in (None, [1] * 1_000))
    assert alone.factors_ == together.factors_
    assert alone.errors_ != together.errors_


def test_little_money_changes_little_and_none_changes_nothing() -> None:
    few = MoneyBySegment().fit(["a"] * 3 + ["b"] * 3, [1.0] * 6, [0.0, 0.0, 9.0, 0.0, 0.0, 0.0])
    assert 0.9 < few.factors_["b"] < few.factors_["a"] < 1.1
    none = MoneyBySegment().fit(["a"], [2.0], [0.0])
    assert none.factor(["a", "never seen"]).tolist() == [1.0, 1.0]
    assert MoneyBySegment().fit([], [], []).factor([]).shape == (0,)


def test_one_huge_payment_is_bounded_and_state_is_kept() -> None:
    money = MoneyBySegment().fit(["a"] * 50 + ["b"] * 50, [1.0] * 100, [1.0] * 99 + [1e9])
    assert all(0.2 <= factor <= 5 for factor in money.factors_.values())
    rebuilt = MoneyBySegment.from_state(money.to_state())
    assert rebuilt.factor(["a", "b", "c"]).tolist() == money.factor(["a", "b", "c"]).tolist()


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueModelError, match="at least 0"):
        MoneyBySegment().fit(["a"], [1.0], [-1.0])
