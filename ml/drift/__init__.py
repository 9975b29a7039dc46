"""Whether today's users still look like those a model was taught with, and whether what it said came true."""

from ml.drift.calibration import CalibrationBin, CalibrationDrift, calibration_drift
from ml.drift.distances import DriftError, Histogram, kolmogorov_smirnov, population_stability_index

__all__ = [
    "CalibrationBin",
    "CalibrationDrift",
    "DriftError",
    "Histogram",
    "calibration_drift",
    "kolmogorov_smirnov",
    "population_stability_index",
]
