"""Values of policies agree with figures by hand and with the truth of a world in which both arms are known."""

import numpy as np
import pytest

from ml.response.policy import doubly_robust_rows, inverse_propensity_value, policy_value, uplift_at

USERS = np.array(["a", "b", "c", "d"])
OUTCOME = np.array([1.0, 0.0, 1.0, 0.0])
EXPOSED = np.array([True, True, False, False])
HALF = np.full(4, 0.5)


def test_by_hand() -> None:
    everybody = np.ones(4, dtype=bool)
    assert inverse_propensity_value(OUTCOME, EXPOSED, HALF, everybody, USERS).value == pytest.approx(0.5)
    first_and_third = np.array([True, False, False, False])
    # Rows a, c and d did what the policy does: (1 + 1 + 0) / 3.
    assert inverse_propensity_value(OUTCOME, EXPOSED, HALF, first_and_third, USERS).value == pytest.approx(2 / 3)
    rows = doubly_robust_rows(OUTCOME, EXPOSED, HALF, everybody, np.full(4, 0.4), np.full(4, 0.1))
    np.testing.assert_allclose(rows, [0.4 + 2 * 0.6, 0.4 - 2 * 0.4, 0.4, 0.4])
    assert policy_value(rows, USERS).value == pytest.approx(0.5)
    assert uplift_at(OUTCOME, EXPOSED, np.array([4, 1, 3, 2]), 0.5) == pytest.approx(0.0)


@pytest.mark.parametrize("is_model_wrong", [False, True])
def test_the_interval_covers_the_true_value(is_model_wrong: bool) -> None:
    draw = np.random.default_rng(0)
    covered, errors = 0, []
    for _ in range(200):
        trait = draw.random(1000)
        alone, exposed = 0.1 + 0.3 * trait, 0.4 - 0.2 * trait
        propensity = 0.2 + 0.6 * trait
        is_exposed = draw.random(1000) < propensity
        outcome = (draw.random(1000) < np.where(is_exposed, exposed, alone)).astype(float)
        invites = trait < 0.5
        truth = np.where(invites, 0.4 - 0.2 * trait, 0.1 + 0.3 * trait).mean()
        expected = (np.full(1000, 0.9), np.full(1000, 0.9)) if is_model_wrong else (exposed, alone)
        found = policy_value(
            doubly_robust_rows(outcome, is_exposed, propensity, invites, *expected), np.arange(1000).astype(str)
        )
        low, high = found.interval()
        covered += low <= truth <= high
        errors.append(found.standard_error)
    assert 180 <= covered <= 198
    assert np.mean(errors) < (0.06 if is_model_wrong else 0.028)
