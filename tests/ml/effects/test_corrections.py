import numpy as np
import pytest
from scipy import stats

from ml.effects import EffectsError, adjust_p_values, shrink_effects


def test_adjusted_p_values_are_benjamini_and_hochbergs():
    p_values = np.random.default_rng(1).uniform(size=40) ** 3
    np.testing.assert_allclose(adjust_p_values(p_values), stats.false_discovery_control(p_values))


def test_cells_without_a_number_do_not_count_among_the_many():
    adjusted = adjust_p_values(np.array([0.01, np.nan, 0.04]))
    assert np.isnan(adjusted[1])
    np.testing.assert_allclose(adjusted[[0, 2]], [0.02, 0.04])
    assert len(adjust_p_values(np.array([]))) == 0


def test_shrinkage_comes_nearer_to_the_truth_and_its_intervals_hold():
    random = np.random.default_rng(2)
    wrong_before, wrong_after, covered = [], [], []
    for _ in range(500):
        truth = random.normal(0.05, 0.02, size=8)
        errors = random.uniform(0.01, 0.06, size=8)
        values = random.normal(truth, errors)
        shrunk = shrink_effects(values, errors)
        wrong_before.append((values - truth) ** 2)
        wrong_after.append((shrunk.values - truth) ** 2)
        covered.append(np.abs(shrunk.values - truth) <= 1.96 * shrunk.errors)
    assert np.mean(wrong_after) < 0.6 * np.mean(wrong_before)
    assert np.mean(covered) >= 0.93


def test_noisy_cells_move_more_than_sure_ones():
    shrunk = shrink_effects(np.array([0.0, 0.1, 0.2, 0.3, 0.9]), np.array([0.02, 0.02, 0.02, 0.02, 0.5]))
    assert shrunk.shrinkage[-1] > 4 * shrunk.shrinkage[0]
    assert shrunk.mean < shrunk.values[-1] < 0.6
    np.testing.assert_allclose(shrunk.values[:4], [0.0, 0.1, 0.2, 0.3], atol=0.01)
    assert shrunk.errors[-1] < 0.5


def test_cells_that_differ_by_noise_alone_still_keep_some_doubt():
    shrunk = shrink_effects(np.full(6, 0.1), np.full(6, 0.05))
    assert shrunk.spread == 0.0
    np.testing.assert_allclose(shrunk.values, 0.1)
    assert (shrunk.shrinkage < 1).all()
    assert (shrunk.errors > 0.05 / np.sqrt(6)).all()


def test_few_cells_are_left_alone():
    values, errors = np.array([0.1, 0.5, 0.2]), np.array([0.1, 0.2, 0.3])
    shrunk = shrink_effects(values, errors)
    np.testing.assert_array_equal(shrunk.values, values)
    np.testing.assert_array_equal(shrunk.shrinkage, 0.0)


def test_what_cannot_be_shrunk_is_refused():
    with pytest.raises(EffectsError, match="above zero"):
        shrink_effects(np.ones(4), np.array([1.0, 1.0, 0.0, 1.0]))
    with pytest.raises(EffectsError, match="finite"):
        shrink_effects(np.array([np.nan, 1, 1, 1]), np.ones(4))
