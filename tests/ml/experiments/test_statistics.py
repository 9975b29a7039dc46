"""Sufficient statistics say what the rows would say, add up, and the corrections are those of the textbooks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from ml.experiments import (
    CovariateStatistic,
    ExperimentError,
    MeanStatistic,
    ProportionStatistic,
    RatioStatistic,
    benjamini_hochberg,
    chance_to_win,
    compare,
    cuped,
    days_needed,
    expected_loss,
    heterogeneity_p_value,
    holm,
    sample_ratio_p_value,
    smallest_visible_difference,
    users_for_proportions,
    users_with_control_share,
)

figures = arrays(np.float64, st.integers(2, 30), elements=st.floats(-1e3, 1e3))


@given(figures, figures)
def test_sums_add_up_and_give_mean_and_variance(first: np.ndarray, second: np.ndarray) -> None:
    together = MeanStatistic.of(first) + MeanStatistic.of(second)
    values = np.concatenate([first, second])
    assert together.mean == pytest.approx(values.mean(), abs=1e-6)
    assert together.variance == pytest.approx(values.var(ddof=1), rel=1e-6, abs=1e-4)


def test_welch_is_that_of_scipy() -> None:
    random = np.random.default_rng(1)
    first, second = random.normal(1, 2, 50), random.normal(1.5, 4, 80)
    effect = compare(MeanStatistic.of(first), MeanStatistic.of(second))
    peer = stats.ttest_ind(second, first, equal_var=False)
    interval = peer.confidence_interval()
    assert (effect.p_value, effect.low, effect.high) == pytest.approx((peer.pvalue, interval.low, interval.high))


def test_cuped_removes_what_was_known_and_keeps_the_difference() -> None:
    random = np.random.default_rng(2)
    before = random.normal(10, 5, (2, 4_000))
    after = 0.9 * before + random.normal(0, 1, (2, 4_000)) + np.array([[0.0], [0.3]])
    raw = compare(*(MeanStatistic.of(arm) for arm in after))
    control, treatment = cuped(*(CovariateStatistic.of(*pair) for pair in zip(after, before, strict=True)))
    adjusted = compare(control, treatment)
    assert adjusted.value == pytest.approx(0.3, abs=0.1)
    assert adjusted.standard_error < raw.standard_error / 4
    centred_before, centred_after = (arms - arms.mean(axis=1, keepdims=True) for arms in (before, after))
    slope = (centred_before * centred_after).sum() / (centred_before**2).sum()
    by_rows = after - slope * (before - before.mean())
    assert treatment.mean == pytest.approx(by_rows[1].mean())
    assert treatment.variance == pytest.approx(by_rows[1].var(ddof=1), rel=1e-6)


def test_ratio_has_the_variance_of_repeated_samples() -> None:
    random = np.random.default_rng(3)
    sessions = random.poisson(3, (4_000, 200)) + 1.0
    revenue = sessions * random.gamma(2, 1, (4_000, 200))
    ratios = revenue.sum(axis=1) / sessions.sum(axis=1)
    estimates = [RatioStatistic.of(revenue[row], sessions[row]).variance / 200 for row in range(200)]
    assert np.mean(estimates) == pytest.approx(ratios.var(), rel=0.06)
    halves = RatioStatistic.of(revenue[0, :90], sessions[0, :90]) + RatioStatistic.of(revenue[0, 90:], sessions[0, 90:])
    assert halves.mean == pytest.approx(RatioStatistic.of(revenue[0], sessions[0]).mean)


def test_corrections_are_those_of_the_books() -> None:
    p_values = np.array([0.01, 0.04, 0.03, 0.005])
    assert holm(p_values) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert benjamini_hochberg(p_values) == pytest.approx(stats.false_discovery_control(p_values))


def test_segments_that_differ_are_told_from_segments_that_do_not() -> None:
    errors = np.full(4, 0.1)
    assert heterogeneity_p_value(np.array([1.0, 1.1, 0.9, 1.0]), errors) > 0.3
    assert heterogeneity_p_value(np.array([1.0, 1.1, 0.0, 1.0]), errors) < 1e-6


def test_chance_and_loss_follow_the_difference() -> None:
    low, high = ProportionStatistic(1000, 100), ProportionStatistic(1000, 150)
    assert chance_to_win(low, high) > 0.99
    assert chance_to_win(low, high) == pytest.approx(1 - chance_to_win(high, low), abs=0.01)
    assert expected_loss(low, high) < 1e-5 < expected_loss(high, low)
    # A strong belief that there is nothing pulls the chance towards a half.
    assert chance_to_win(low, high, prior_deviation=0.001) < 0.6


def test_power_holds_in_simulation_and_unequal_arms_need_more() -> None:
    users = users_for_proportions(0.2, 0.25, power=0.8)
    random = np.random.default_rng(4)
    n = round(users)
    first, second = random.binomial(n, 0.2, 4_000) / n, random.binomial(n, 0.25, 4_000) / n
    pooled = (first + second) / 2
    z = (second - first) / np.sqrt(2 * pooled * (1 - pooled) / n)
    assert (np.abs(z) > 1.96).mean() == pytest.approx(0.8, abs=0.02)
    assert users_with_control_share(users, 0.5) == pytest.approx(2 * users)
    assert users_with_control_share(users, 0.1) == pytest.approx(users / 0.18)
    unpooled = users_for_proportions(0.2, 0.25, formula="unpooled")
    assert smallest_visible_difference(0.2, unpooled, unpooled) == pytest.approx(0.05)
    assert days_needed(1000, 300, 14) == 18


def test_what_cannot_be_read_is_an_error_and_no_figure() -> None:
    with pytest.raises(ExperimentError, match="without users"):
        _ = MeanStatistic(0, 0.0, 0.0).mean
    with pytest.raises(ExperimentError, match="at least two users"):
        compare(ProportionStatistic(1, 1), ProportionStatistic(10, 1))
    with pytest.raises(ExperimentError, match="control above 0"):
        compare(ProportionStatistic(10, 0), ProportionStatistic(10, 1), scale="relative")
    with pytest.raises(ExperimentError, match="between 0 and n"):
        ProportionStatistic(1, 2)
    with pytest.raises(ExperimentError, match="same arms"):
        sample_ratio_p_value({"a": 1}, {"b": 1.0})


def test_a_split_of_54_to_46_is_found_every_time() -> None:
    random = np.random.default_rng(5)
    counts = random.binomial(10_000, 0.54, 100)
    weights = {"a": 1.0, "b": 1.0}
    assert all(sample_ratio_p_value({"a": int(n), "b": 10_000 - int(n)}, weights) < 0.001 for n in counts)
