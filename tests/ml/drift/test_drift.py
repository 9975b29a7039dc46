"""Distances agree with figures worked out by hand and with scipy; odd histograms have a defined answer."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from ml.drift import (
    CalibrationBin,
    DriftError,
    Histogram,
    calibration_drift,
    kolmogorov_smirnov,
    population_stability_index,
)


def histogram(*counts: int, missing: int = 0) -> Histogram:
    return Histogram(np.array(counts), missing)


def test_stability_index_by_hand() -> None:
    # (.4 - .5) ln(.4 / .5) + (.6 - .5) ln(.6 / .5) = .0223144 + .0182322
    assert population_stability_index(histogram(50, 50), histogram(40, 60)) == pytest.approx(0.0405465, abs=1e-7)
    assert population_stability_index(histogram(50, 50), histogram(400, 600)) == pytest.approx(0.0405465, abs=1e-7)
    # A value that is gone is a bin: (.2 - .0001) ln(.2 / .0001) + (.8 - 1) ln(.8)
    gone = population_stability_index(histogram(100), histogram(80, missing=20))
    assert gone == pytest.approx(0.1999 * np.log(2000) - 0.2 * np.log(0.8), abs=1e-9)
    assert population_stability_index(histogram(3, 0, 7), histogram(30, 0, 70)) == pytest.approx(0.0)


def test_kolmogorov_smirnov_is_that_of_scipy() -> None:
    draw = np.random.default_rng(0)
    first, second = draw.poisson(4, 500), draw.poisson(5, 300)
    bins = np.arange(31)
    counts = [Histogram(np.histogram(sample, bins)[0]) for sample in (first, second)]
    assert kolmogorov_smirnov(*counts) == pytest.approx(ks_2samp(first, second).statistic, abs=1e-12)
    coarse = [Histogram(np.histogram(sample, bins[::5])[0]) for sample in (first, second)]
    assert 0 < kolmogorov_smirnov(*coarse) <= kolmogorov_smirnov(*counts)


def test_nobody_and_no_value_are_no_drift_and_parts_add_up() -> None:
    nobody, unknown, some = histogram(0, 0), histogram(0, 0, missing=9), histogram(3, 4, missing=2)
    assert population_stability_index(nobody, some) == kolmogorov_smirnov(nobody, some) == 0.0
    assert kolmogorov_smirnov(unknown, some) == 0.0
    assert population_stability_index(unknown, some) > 1
    assert nobody.missing_share == 0.0
    added = some + some
    assert (added.counts.tolist(), added.missing, added.users) == ([6, 8], 4, 18)
    with pytest.raises(DriftError):
        kolmogorov_smirnov(some, histogram(1))


def test_calibration_error_by_hand_and_by_chance() -> None:
    found = calibration_drift([CalibrationBin(100, 10.0, 20), CalibrationBin(300, 90.0, 90), CalibrationBin(0, 0.0, 0)])
    assert found.error == pytest.approx(0.25 * 0.1)
    assert (found.mean_expected, found.mean_happened) == pytest.approx((0.25, 0.275))
    assert calibration_drift([]).excess == 0.0
    draw = np.random.default_rng(1)
    chances = np.linspace(0.05, 0.5, 10)
    errors = [
        calibration_drift([CalibrationBin(400, 400 * p, int(draw.binomial(400, p))) for p in chances])
        for _ in range(300)
    ]
    assert np.mean([one.error for one in errors]) == pytest.approx(errors[0].by_chance, rel=0.05)
