import math

import pytest

from ml.effects import e_value
from ml.effects.sensitivity import e_values_of_amount, e_values_of_chance


def test_e_values_are_those_of_vanderweele_and_ding():
    # Their example: risk ratio 3.9 with interval 1.8 to 8.7 has E-values 7.26 and 3.0.
    assert e_value(3.9) == pytest.approx(7.26, abs=0.005)
    assert e_value(1.8) == pytest.approx(3.0, abs=0.005)
    assert e_value(1.0) == 1.0


def test_an_effect_that_lowers_is_as_robust_as_one_that_raises():
    assert e_value(0.5) == pytest.approx(e_value(2.0))


def test_an_interval_over_zero_needs_nothing_unseen():
    point, nearer = e_values_of_chance(0.3, low=-0.02, high=0.12, effect=0.05)
    assert point == pytest.approx(e_value(0.3 / 0.25))
    assert nearer == 1.0


def test_the_nearer_end_is_less_robust_than_the_estimate():
    point, nearer = e_values_of_chance(0.3, low=0.02, high=0.18, effect=0.1)
    assert nearer == pytest.approx(e_value(0.3 / 0.28))
    assert point > nearer
    point, nearer = e_values_of_amount(low=-3.0, high=-1.0, effect=-2.0, deviation=4.0)
    assert nearer == pytest.approx(e_value(math.exp(-0.91 / 4)))
    assert point > nearer


def test_nobody_otherwise_is_beyond_any_ratio():
    assert math.isinf(e_values_of_chance(0.1, low=0.05, high=0.15, effect=0.1)[0])
    assert e_values_of_amount(low=1.0, high=2.0, effect=1.5, deviation=0.0) == (1.0, 1.0)
