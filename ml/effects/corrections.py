"""What many cells at once ask for: shrinkage of small cells, and p-values that know how many were looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize

from ml.effects.errors import EffectsError

# With fewer cells the spread between them cannot be told from noise (Morris 1983 needs more than three).
FEWEST_CELLS = 4


@dataclass(frozen=True)
class ShrunkEffects:
    """Effects of the cells of a family after empirical Bayes.

    Attributes:
        values: shape (cells,), pulled towards `mean`.
        errors: shape (cells,), posterior standard deviations, with what is unknown about mean and spread.
        shrinkage: shape (cells,), 0 (left alone) to below 1 (replaced by the mean).
        mean: what the cells are pulled towards.
        spread: estimated standard deviation of the true effects between cells.
    """

    values: np.ndarray
    errors: np.ndarray
    shrinkage: np.ndarray
    mean: float
    spread: float


def shrink_effects(values: np.ndarray, errors: np.ndarray) -> ShrunkEffects:
    """Pull each cell's effect towards the family's mean, the more the noisier it is beside the others.

    True effects are taken as normal around a common mean; mean and spread are estimated from the cells (Paule and
    Mandel 1982), and the posterior carries their uncertainty (Morris 1983, Parametric empirical Bayes inference).
    Fewer than four cells are left alone.

    Args:
        values: estimated effects, shape (cells,).
        errors: their standard errors, > 0, shape (cells,).
    """
    if values.shape != errors.shape or not (np.isfinite(values).all() and np.isfinite(errors).all()):
        raise EffectsError("Shrinkage needs one finite effect and one finite error a cell.")
    if (errors <= 0).any():
        raise EffectsError("Shrinkage needs errors above zero; leave cells without variation out.")
    variances = errors**2
    cells = len(values)
    if cells < FEWEST_CELLS:
        weights = 1.0 / variances
        mean = float(weights @ values / weights.sum()) if cells else float("nan")
        return ShrunkEffects(values.copy(), errors.copy(), np.zeros(cells), mean, float("nan"))

    spread = _variance_between(values, variances)
    weights = 1.0 / (variances + spread)
    mean = float(weights @ values / weights.sum())
    shrinkage = (cells - 3) / (cells - 1) * variances / (variances + spread)
    share = weights / weights.sum()
    # The noise that is left, plus what the estimated mean and spread themselves leave open.
    mean_variance = float(weights @ variances / weights.sum())
    doubt = 2.0 / (cells - 3) * shrinkage**2 * (mean_variance + spread) / (variances + spread)
    posterior = variances * (1.0 - (1.0 - share) * shrinkage) + doubt * (values - mean) ** 2
    return ShrunkEffects(
        values=(1.0 - shrinkage) * values + shrinkage * mean,
        errors=np.sqrt(posterior),
        shrinkage=shrinkage,
        mean=mean,
        spread=float(np.sqrt(spread)),
    )


def adjust_p_values(p_values: np.ndarray) -> np.ndarray:
    """Adjust p-values so that those below q hold at most a share q of false alarms (Benjamini and Hochberg 1995).

    NaN (no number for that cell) stays NaN and does not count.
    """
    adjusted = np.full(len(p_values), np.nan)
    known = np.flatnonzero(np.isfinite(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    scaled = p_values[order] * len(order) / np.arange(1, len(order) + 1)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted


def _variance_between(values: np.ndarray, variances: np.ndarray) -> float:
    """Variance of the true effects for which the weighted squares are as large as expected (Paule and Mandel 1982)."""

    def surplus(between: float) -> float:
        weights = 1.0 / (variances + between)
        mean = weights @ values / weights.sum()
        return float(weights @ (values - mean) ** 2) - (len(values) - 1)

    if surplus(0.0) <= 0.0:
        return 0.0
    highest = float(np.ptp(values)) ** 2 * len(values)
    return float(optimize.brentq(surplus, 0.0, highest, xtol=1e-14 * highest))
