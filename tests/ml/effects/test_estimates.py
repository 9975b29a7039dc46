import numpy as np
import pytest
from scipy import stats

from ml.effects import EffectsError, estimate_difference, estimate_return_on_investment, statistics_by_cell


def _statistic(is_exposed, variables, weights=None, users=None):
    rows = len(is_exposed)
    return statistics_by_cell(
        np.zeros(rows, dtype=int),
        1,
        np.arange(rows) if users is None else users,
        is_exposed,
        np.ones(rows) if weights is None else weights,
        variables,
    )[0]


def test_equal_weights_give_welchs_comparison():
    random = np.random.default_rng(1)
    is_exposed = random.random(300) < 0.3
    outcome = random.gamma(2, size=300) + is_exposed
    estimate = estimate_difference(_statistic(is_exposed, {"y": outcome}), "y")
    welch = stats.ttest_ind(outcome[is_exposed], outcome[~is_exposed], equal_var=False)
    assert estimate.value == pytest.approx(outcome[is_exposed].mean() - outcome[~is_exposed].mean())
    assert estimate.degrees_of_freedom == pytest.approx(welch.df)
    assert estimate.p_value == pytest.approx(welch.pvalue)
    assert estimate.interval(0.9) == pytest.approx(tuple(welch.confidence_interval(0.9)))


def test_inverse_probability_weights_undo_a_known_choice():
    random = np.random.default_rng(2)
    rows = 200_000
    size = random.integers(0, 2, rows)
    chance = np.where(size == 1, 0.8, 0.2)
    is_exposed = random.random(rows) < chance
    outcome = 3.0 * size + 0.5 * is_exposed + random.normal(size=rows)
    plain = estimate_difference(_statistic(is_exposed, {"y": outcome}), "y")
    weighted = estimate_difference(
        _statistic(is_exposed, {"y": outcome}, weights=1 / np.where(is_exposed, chance, 1 - chance)), "y"
    )
    assert plain.value > 2.0
    assert weighted.value == pytest.approx(0.5, abs=4 * weighted.error)
    assert weighted.error < 0.02


def test_a_covariate_takes_out_what_it_explains():
    random = np.random.default_rng(3)
    is_exposed = random.random(5000) < 0.5
    before = random.normal(size=5000)
    outcome = 2.0 * before + 0.1 * is_exposed + random.normal(size=5000)
    statistic = _statistic(is_exposed, {"y": outcome, "before": before, "nothing": np.ones(5000)})
    plain, helped = estimate_difference(statistic, "y"), estimate_difference(statistic, "y", ("before",))
    # The covariate carries 4 of 5 parts of the variance.
    assert (helped.error / plain.error) ** 2 == pytest.approx(0.2, rel=0.1)
    assert helped.value == pytest.approx(0.1, abs=4 * helped.error)
    same = estimate_difference(statistic, "y", ("before", "nothing"))
    assert same.value == pytest.approx(helped.value)


def test_return_on_investment_agrees_with_the_bootstrap():
    random = np.random.default_rng(4)
    rows = 4000
    is_exposed = random.random(rows) < 0.5
    responded = is_exposed & (random.random(rows) < 0.3)
    revenue = random.exponential(2.0, rows) + 8.0 * responded
    cost = np.where(is_exposed, 0.5 + 2.0 * responded, 0.0)
    estimate = estimate_return_on_investment(
        _statistic(is_exposed, {"revenue": revenue, "cost": cost}), "revenue", "cost"
    )

    def ratio(chosen):
        exposed = is_exposed[chosen]
        added = revenue[chosen][exposed].mean() - revenue[chosen][~exposed].mean()
        return added / cost[chosen][exposed].mean() - 1

    draws = [ratio(random.integers(0, rows, rows)) for _ in range(2000)]
    assert estimate.value == pytest.approx(ratio(np.arange(rows)))
    assert estimate.error == pytest.approx(np.std(draws), rel=0.06)


def test_what_costs_nothing_has_no_return_on_investment():
    is_exposed = np.arange(40) % 2 == 0
    statistic = _statistic(is_exposed, {"revenue": np.arange(40.0), "cost": np.zeros(40)})
    assert estimate_return_on_investment(statistic, "revenue", "cost") is None


def test_one_user_an_arm_is_no_comparison():
    with pytest.raises(EffectsError, match="two users"):
        estimate_difference(_statistic(np.array([True, False, False]), {"y": np.array([1.0, 0.0, 1.0])}), "y")


def test_randomised_intervals_cover_the_truth_in_93_to_97_percent_of_500_runs():
    """Chances of assignment follow behaviour, returns are rare; every run is a cell of one pass."""
    random = np.random.default_rng(20180102)
    runs, rows, effect = 500, 1500, 0.06
    behaviour = random.normal(size=(runs, rows))
    chance = 0.3 + 0.4 / (1 + np.exp(-behaviour))
    is_exposed = random.random((runs, rows)) < chance
    otherwise = np.clip(0.12 + 0.05 * behaviour, 0.01, 0.9)
    returned = (random.random((runs, rows)) < otherwise + effect * is_exposed).astype(float)
    weights = 1 / np.where(is_exposed, chance, 1 - chance)
    runs_of_rows = np.repeat(np.arange(runs), rows)
    statistics = statistics_by_cell(
        runs_of_rows,
        runs,
        np.arange(runs * rows),
        is_exposed.ravel(),
        weights.ravel(),
        {"return": returned.ravel(), "behaviour": behaviour.ravel()},
    )
    for covariates in ((), ("behaviour",)):
        estimates = [estimate_difference(statistic, "return", covariates) for statistic in statistics]
        covered = np.mean([low <= effect <= high for low, high in (estimate.interval() for estimate in estimates)])
        values = np.array([estimate.value for estimate in estimates])
        assert 0.93 <= covered <= 0.97
        assert abs(values.mean() - effect) < 4 * values.std() / np.sqrt(runs)
        # Nobody is alarmed too often by nothing: the z-scores are standard normal.
        assert np.mean([estimate.error for estimate in estimates]) == pytest.approx(values.std(), rel=0.1)
