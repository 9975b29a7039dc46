import numpy as np
import pytest

from ml.effects import EvidenceRules, adjust_for_choice, estimate_difference, measure_balance, measure_cells
from ml.effects.statistics import statistics_by_cell
from tests.ml.effects.worlds import confounded_world, make_exposures

EFFECT = 0.08


def _overall(exposures):
    return next(cell for cell in measure_cells(exposures) if cell.scope == "event_type")


@pytest.mark.parametrize(("is_bent", "runs"), [(False, 500), (True, 100)])
def test_adjusting_removes_the_bias_of_choice_and_covers_the_truth(is_bent, runs):
    """At least 80 % of the naive bias is removed, and at least 90 % of the intervals cover."""
    random = np.random.default_rng(7)
    naive, adjusted, covered = [], [], []
    for _ in range(runs):
        features, is_exposed, returned = confounded_world(random, 1200, EFFECT, is_bent=is_bent)
        naive.append(returned[is_exposed].mean() - returned[~is_exposed].mean())
        cell = _overall(make_exposures(is_exposed, {"return": returned}, features))
        assert cell.evidence == "adjusted"
        adjusted.append(cell.effect)
        covered.append(cell.low <= EFFECT <= cell.high)
    naive_bias, bias = np.mean(naive) - EFFECT, np.mean(adjusted) - EFFECT
    assert naive_bias > 0.05
    assert abs(bias) <= 0.2 * naive_bias
    assert np.mean(covered) >= 0.9


def test_one_right_model_is_enough():
    """Doubly robust: with the odds spoilt the outcome model carries, with the outcome model spoilt the odds do."""
    random = np.random.default_rng(8)
    features, is_exposed, returned = confounded_world(random, 40_000, EFFECT)
    adjustment = adjust_for_choice(make_exposures(is_exposed, {"return": returned}, features), 0.95)
    spoilt = {
        "no weights": (adjustment.plain_weights, adjustment.residuals["return"]),
        "no model of the outcome": (adjustment.weights, returned),
    }
    for weights, outcome in spoilt.values():
        statistic = statistics_by_cell(
            np.zeros(len(returned), dtype=int), 1, np.arange(len(returned)), is_exposed, weights, {"y": outcome}
        )[0]
        estimate = estimate_difference(statistic, "y")
        assert estimate.value == pytest.approx(EFFECT, abs=4 * estimate.error)
        assert estimate.error < 0.01


def test_what_users_would_have_done_is_learned_from_the_unexposed_alone():
    features, is_exposed, returned = confounded_world(np.random.default_rng(12), 10_000, 0.3)
    adjustment = adjust_for_choice(make_exposures(is_exposed, {"return": returned}, features), 0.95)
    controls = adjustment.weights * ~is_exposed
    assert abs(controls @ adjustment.residuals["return"] / controls.sum()) < 0.01
    assert adjustment.residuals["return"][is_exposed].mean() == pytest.approx(0.3, abs=0.03)


def test_weighting_balances_what_decided_the_choice():
    random = np.random.default_rng(9)
    features, is_exposed, returned = confounded_world(random, 5000, EFFECT)
    adjustment = adjust_for_choice(make_exposures(is_exposed, {"return": returned}, features), 0.95)
    balance = measure_balance(
        adjustment.features, adjustment.balance_names, is_exposed, adjustment.plain_weights, adjustment.weights
    )
    assert balance.largest_before > 0.5
    assert balance.largest_after < 0.1
    assert balance.mean_after < 0.3 * balance.mean_before
    assert set(balance.worst) <= {"x0", "x1", "x2", "x3"}


def test_how_many_controls_were_sampled_for_an_event_does_not_matter():
    """The second event has a better season; nine in ten of its unexposed users were left out of the sample."""
    random = np.random.default_rng(10)
    rows = 20_000
    second = random.random(rows) < 0.5
    is_exposed = random.random(rows) < 0.3
    returned = (random.random(rows) < 0.1 + 0.3 * second + EFFECT * is_exposed).astype(float)
    kept = is_exposed | ~second | (random.random(rows) < 0.1)
    exposures = make_exposures(
        is_exposed, {"return": returned}, random.normal(size=(rows, 2)), event_ids=np.where(second, "e2", "e1")
    ).take(kept)
    naive = exposures.outcomes["return"][exposures.is_exposed].mean()
    naive -= exposures.outcomes["return"][~exposures.is_exposed].mean()
    cell = _overall(exposures)
    assert abs(naive - EFFECT) > 0.08
    assert cell.effect == pytest.approx(EFFECT, abs=3.5 * cell.error)
    assert cell.error < 0.02


def test_exposed_users_without_anyone_like_them_are_trimmed_and_too_many_end_the_estimate():
    random = np.random.default_rng(11)
    rows = 4000
    size = random.normal(size=(rows, 1))
    is_exposed = random.random(rows) < 1 / (1 + np.exp(-8 * (size[:, 0] - 0.5)))
    returned = (random.random(rows) < 0.3).astype(float)
    cell = _overall(make_exposures(is_exposed, {"return": returned}, size))
    assert cell.evidence == "insufficient"
    assert cell.effect is None
    assert "comparable" in cell.diagnostics["reason"]
    lenient = EvidenceRules(maximum_trimmed_share=1.0, maximum_imbalance=10.0)
    exposures = make_exposures(is_exposed, {"return": returned}, size)
    trimmed = next(cell for cell in measure_cells(exposures, lenient) if cell.scope == "event_type")
    assert trimmed.diagnostics["trimmed_share"] > 0.3
    assert trimmed.exposed < is_exposed.sum()
