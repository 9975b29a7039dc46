"""How far two samples of one variable are apart, from counts alone."""

from dataclasses import dataclass

import numpy as np

# Shares below this are taken as this, so that an empty bin is far away and not infinitely far.
SMALLEST_SHARE = 1e-4


class DriftError(ValueError):
    """Two histograms cannot be compared; the message says why."""


@dataclass(frozen=True)
class Histogram:
    """Users of a variable by bin, and users without a value. Histograms of parts add up.

    Attributes:
        counts: users in each bin, in the order of the bins (for categories: any fixed order), shape (bins,).
        missing: users without a value.
    """

    counts: np.ndarray
    missing: int = 0

    def __add__(self, other: "Histogram") -> "Histogram":
        if len(self.counts) != len(other.counts):
            raise DriftError(f"Histograms of {len(self.counts)} and {len(other.counts)} bins do not add up.")
        return Histogram(self.counts + other.counts, self.missing + other.missing)

    @property
    def users(self) -> int:
        """All users, with or without a value."""
        return int(self.counts.sum()) + self.missing

    @property
    def missing_share(self) -> float:
        """Share of the users without a value; 0 without users."""
        return self.missing / self.users if self.users else 0.0


def population_stability_index(reference: Histogram, current: Histogram) -> float:
    """Return the sum over bins of (c - r) ln(c / r), c and r being shares; users without a value are a bin.

    Below 0.1 is taken for stable, above 0.25 for changed. 0 where either side has nobody.

    Source:
        Siddiqi (2006), Credit risk scorecards, chapter 11; it is the symmetrised Kullback-Leibler divergence.

    Raises:
        DriftError: the histograms have different bins.
    """
    _require_same_bins(reference, current)
    if reference.users == 0 or current.users == 0:
        return 0.0
    shares = [
        np.maximum(np.append(histogram.counts, histogram.missing) / histogram.users, SMALLEST_SHARE)
        for histogram in (reference, current)
    ]
    # A bin that is empty on both sides is equal on both, whatever its floor.
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def kolmogorov_smirnov(reference: Histogram, current: Histogram) -> float:
    """Return the largest distance of the two distribution functions at the edges of the bins, among known values.

    Where every value has a bin of its own this is the statistic itself, otherwise a lower bound of it. 0 where either
    side has no value.

    Source:
        Kolmogorov (1933), Smirnov (1939).

    Raises:
        DriftError: the histograms have different bins.
    """
    _require_same_bins(reference, current)
    if reference.counts.sum() == 0 or current.counts.sum() == 0:
        return 0.0
    functions = [np.cumsum(histogram.counts) / histogram.counts.sum() for histogram in (reference, current)]
    return float(np.abs(functions[0] - functions[1]).max())


def _require_same_bins(reference: Histogram, current: Histogram) -> None:
    if len(reference.counts) != len(current.counts):
        raise DriftError(f"Histograms of {len(reference.counts)} and {len(current.counts)} bins cannot be compared.")
