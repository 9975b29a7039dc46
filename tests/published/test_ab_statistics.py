"""Figures that others published for experiments: GrowthBook's test suite, Johari et al., Howard et al., textbooks."""

import numpy as np
import pytest

from ml.experiments import (
    CovariateStatistic,
    MeanStatistic,
    ProportionStatistic,
    chance_to_win,
    compare,
    compare_always_valid,
    crossing_chance,
    cuped_slope,
    group_sequential_boundaries,
    msprt_p_value,
    msprt_ratio,
    normal_mixture_bound,
    normal_mixture_rho,
    sample_ratio_p_value,
    users_for_means,
    users_for_proportions,
)

CONTROL = MeanStatistic(3407, 1396.87, 52377.9767)
TREATMENT = MeanStatistic(3461, 2422.7, 134698.29)


def figures(effect) -> list[float]:
    return [effect.value, effect.low, effect.high, effect.p_value]


def test_welch_on_sums() -> None:
    assert figures(compare(CONTROL, TREATMENT)) == pytest.approx([0.29, 0.04538, 0.53462, 0.02016], abs=1e-5)


def test_relative_effect_by_the_delta_method() -> None:
    effect = compare(CONTROL, TREATMENT, scale="relative")
    assert figures(effect) == pytest.approx([0.70732, -0.03526, 1.44989, 0.06191], abs=1e-5)


def test_relative_effect_of_proportions() -> None:
    effect = compare(ProportionStatistic(28, 14), ProportionStatistic(30, 16), scale="relative")
    assert figures(effect) == pytest.approx([0.06667, -0.47767, 0.61101, 0.80707], abs=1e-5)


def test_sequential_relative_effect() -> None:
    effect = compare_always_valid(
        ProportionStatistic(3000, 1396), ProportionStatistic(3461, 2422), scale="relative", tuning=5000
    )
    assert figures(effect)[:3] == pytest.approx([0.50386, 0.40098, 0.60675], abs=1e-5)


def test_cuped_slope_is_covariance_over_variance() -> None:
    statistic = CovariateStatistic.of(np.array([2.0, 1, 5, 3]), np.array([0.3, 0.5, 0.9, 22]))
    assert cuped_slope(statistic) == pytest.approx(0.01864, abs=1e-5)


def test_bayesian_chance_to_win() -> None:
    assert chance_to_win(ProportionStatistic(100, 49), ProportionStatistic(100, 51)) == pytest.approx(0.60918, abs=1e-5)


@pytest.mark.parametrize(
    ("counts", "weights", "p_value"),
    [
        ([1000, 1200], [0.5, 0.5], 0.000020079),
        ([135, 115], [0.5, 0.5], 0.205903211),
        ([310, 98], [0.75, 0.25], 0.647434186),
        # The published figure belongs to a split of 34/33/33.
        ([500, 500, 600], [0.34, 0.33, 0.33], 0.000592638),
    ],
)
def test_sample_ratio(counts: list[int], weights: list[float], p_value: float) -> None:
    arms = [str(position) for position in range(len(counts))]
    found = sample_ratio_p_value(dict(zip(arms, counts, strict=True)), dict(zip(arms, weights, strict=True)))
    assert found == pytest.approx(p_value, abs=1e-9)


@pytest.mark.parametrize(
    ("looks", "pocock", "obrien_fleming"),
    [(2, 2.178, 1.977), (3, 2.289, 2.004), (4, 2.361, 2.024), (5, 2.413, 2.040), (10, 2.555, 2.087)],
)
def test_group_sequential_constants(looks: int, pocock: float, obrien_fleming: float) -> None:
    assert group_sequential_boundaries(looks, shape="pocock")[-1] == pytest.approx(pocock, abs=0.001)
    boundaries = group_sequential_boundaries(looks, shape="obrien-fleming")
    assert boundaries[-1] == pytest.approx(obrien_fleming, abs=0.001)
    assert boundaries[0] == pytest.approx(boundaries[-1] * np.sqrt(looks))


@pytest.mark.parametrize(("looks", "level"), [(1, 0.05), (2, 0.083), (3, 0.107), (5, 0.142), (10, 0.193), (20, 0.248)])
def test_peeking_at_a_fixed_boundary_inflates_the_level(looks: int, level: float) -> None:
    assert crossing_chance((1.959964,) * looks)[-1] == pytest.approx(level, abs=0.0005)


def test_mixture_sequential_probability_ratio_test() -> None:
    ratio = msprt_ratio(0.1, 2.0, 1000, 0.01)
    assert ratio == pytest.approx(3.278722, abs=1e-5)
    assert msprt_p_value([1.0, ratio, 2.0]) == pytest.approx(0.304997, abs=1e-5)


def test_normal_mixture_bounds() -> None:
    rho = normal_mixture_rho(100, 0.05)
    assert rho == pytest.approx(12.60056, abs=1e-5)
    assert normal_mixture_bound(100, rho, 0.05) == pytest.approx(30.35209, abs=1e-5)
    # The one-sided bound is tuned for its own side: its rho is that of twice the level.
    one_sided = normal_mixture_rho(100, 0.05, is_two_sided=False)
    assert normal_mixture_bound(100, one_sided, 0.05, is_two_sided=False) == pytest.approx(27.66071, abs=1e-5)


@pytest.mark.parametrize(
    ("formula", "users"),
    [("null-variance", 1030.22), ("pooled", 1093.74), ("unpooled", 1090.99), ("arcsine", 1091.90)],
)
def test_users_for_two_proportions(formula, users: float) -> None:
    assert users_for_proportions(0.20, 0.25, power=0.8, formula=formula) == pytest.approx(users, abs=0.005)


@pytest.mark.parametrize(("effect_size", "users"), [(0.2, 393.41), (0.5, 63.77), (0.8, 25.52)])
def test_users_for_a_t_test(effect_size: float, users: float) -> None:
    assert users_for_means(effect_size) == pytest.approx(users, abs=0.005)
