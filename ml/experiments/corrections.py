"""Many comparisons at once: p-values that keep the chance of any false claim, or the share of false ones."""

import numpy as np
from scipy import stats

from ml.experiments.assignment import ExperimentError


def holm(p_values: np.ndarray) -> np.ndarray:
    """Adjusted p-values that keep the chance of any false claim (Holm 1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    steps = np.maximum.accumulate(p_values[order] * np.arange(p_values.size, 0, -1))
    return _in_place(np.minimum(steps, 1.0), order)


def benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    """Adjusted p-values that keep the expected share of false claims (Benjamini and Hochberg 1995)."""
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * p_values.size / np.arange(1, p_values.size + 1)
    lowered = np.minimum.accumulate(steps[::-1])[::-1]
    return _in_place(np.minimum(lowered, 1.0), order)


def heterogeneity_p_value(effects: np.ndarray, standard_errors: np.ndarray) -> float:
    """Chance of effects this different if all groups had the same one (Cochran's Q).

    Raises:
        ExperimentError: fewer than two groups, or a group without a standard error.
    """
    if effects.size < 2 or not (standard_errors > 0).all():
        raise ExperimentError("At least two segments with a standard error are needed to tell whether they differ.")
    weights = 1 / standard_errors**2
    common = (weights * effects).sum() / weights.sum()
    statistic = (weights * (effects - common) ** 2).sum()
    return float(stats.chi2.sf(statistic, effects.size - 1))


def _in_place(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Put sorted values back where they came from."""
    result = np.empty_like(values)
    result[order] = values
    return result
