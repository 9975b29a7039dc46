"""Choosing a model by later exposures of other users; of equals the simplest is taken."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ml.response.learners import SMALLEST_CHANCE, Kind

# Users are split into so many parts; each part is predicted by models that saw the others.
FOLDS = 4
# Whether something is better than nothing is asked in one direction.
_ONE_SIDED_95 = 1.644854
_TWO_SIDED_95 = 1.959964


@dataclass(frozen=True)
class TimeSlices:
    """Masks over the rows: learn on `earlier`, choose and calibrate on `later`, report on `last`.

    With two moments `later` and `last` are the same; with one moment all three are, and only the split by user is left
    (`is_out_of_time` is False then).
    """

    earlier: np.ndarray
    later: np.ndarray
    last: np.ndarray
    is_out_of_time: bool


@dataclass(frozen=True)
class Comparison:
    """How the candidates did on the same later rows.

    Attributes:
        chosen: name of the candidate taken.
        losses: mean loss of each candidate.
        differences: mean loss minus that of the best candidate (of effects: of the one to be beaten).
        standard_errors: standard error of that difference, rows of a user taken together.
    """

    chosen: str
    losses: Mapping[str, float]
    differences: Mapping[str, float]
    standard_errors: Mapping[str, float]

    def metrics(self) -> dict[str, float]:
        """Loss of each candidate, and its difference with the ends of a 95 % interval where there is one."""
        figures = {f"candidate_loss/{name}": loss for name, loss in self.losses.items()}
        for name, difference in self.differences.items():
            half = _TWO_SIDED_95 * self.standard_errors[name]
            if math.isfinite(half):
                figures[f"candidate_difference/{name}"] = difference
                figures[f"candidate_difference_low/{name}"] = difference - half
                figures[f"candidate_difference_high/{name}"] = difference + half
        return figures


def user_folds(user_ids: np.ndarray, seed: int, count: int = FOLDS) -> np.ndarray:
    """Return 0 to count - 1 per row: the fold of its user, by a hash of the id, so that the company plays no part."""
    unique, position = np.unique(user_ids.astype(str), return_inverse=True)
    digests = [hashlib.md5(f"{seed}|{user}".encode(), usedforsecurity=False).digest() for user in unique]
    folds = np.array([digest[0] % count for digest in digests], dtype=np.int64)
    return folds[position] if len(folds) else folds


def time_slices(days: np.ndarray, later_share: float = 0.25, last_share: float = 0.2) -> TimeSlices:
    """Cut rows by their moment into an earlier, a later and a last part; a moment is never cut in two."""
    every = np.ones(len(days), dtype=bool)
    moments, counts = np.unique(days, return_counts=True)
    if len(moments) < 2:
        return TimeSlices(every, every, every, False)
    share_from = counts[::-1].cumsum()[::-1] / counts.sum()
    if len(moments) == 2:
        last = days >= moments[1]
        return TimeSlices(~last, last, last, True)
    # The first moment from which at most the wanted share is left, but never fewer than one moment a slice.
    last_start = min(max(int(np.argmax(share_from <= last_share)) or len(moments) - 1, 2), len(moments) - 1)
    later_start = int(np.argmax(share_from <= last_share + later_share)) or last_start - 1
    later_start = min(max(later_start, 1), last_start - 1)
    last = days >= moments[last_start]
    earlier = days < moments[later_start]
    return TimeSlices(earlier, ~earlier & ~last, last, True)


def row_losses(kind: Kind, outcome: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Loss of each row: log loss (chance), Poisson deviance (amount), squared error (difference)."""
    if kind == "chance":
        chance = np.clip(prediction, SMALLEST_CHANCE, 1 - SMALLEST_CHANCE)
        return -(outcome * np.log(chance) + (1 - outcome) * np.log1p(-chance))
    if kind == "amount":
        mean = np.maximum(prediction, 1e-9)
        logs = np.log(np.where(outcome > 0, outcome, 1.0) / mean)
        return 2 * (np.where(outcome > 0, outcome * logs, 0.0) - outcome + mean)
    return (outcome - prediction) ** 2


def clustered_mean(values: np.ndarray, groups: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Return the weighted mean and its standard error, where rows of one group may depend on each other.

    Ratio estimator with the sandwich variance G/(G-1) sum over groups of (sum of w (v - mean))^2 / (sum w)^2. With one
    group the error is infinite: one user says nothing about others.
    """
    total = weight.sum()
    if len(values) == 0 or total <= 0:
        return 0.0, float("inf")
    mean = float((weight * values).sum() / total)
    codes = np.unique(groups, return_inverse=True)[1]
    count = int(codes.max()) + 1
    if count < 2:
        return mean, float("inf")
    sums = np.bincount(codes, weights=weight * (values - mean))
    return mean, float(np.sqrt((sums**2).sum() * count / (count - 1)) / total)


def simplest_within_one_standard_error(
    losses: Mapping[str, np.ndarray],
    simplicity: Sequence[str],
    user_ids: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    null: str | None = None,
) -> Comparison:
    """Choose among candidates by their losses on the same rows.

    Args:
        losses: loss per row of each candidate, shape (rows,).
        simplicity: names of the candidates, the simplest first.
        user_ids: who a row belongs to; rows of a user count as one draw.
        weight: weight of a row.
        null: the candidate that says the same of everybody, if there is one: it stays unless the best beats it beyond
            noise (1.64 standard errors), since among several candidates one is always better by chance.

    Source:
        Breiman et al., Classification and Regression Trees (1984), section 3.4.3: the one standard error rule; here on
        paired differences, which are far less noisy than the losses themselves.
    """
    names = [name for name in simplicity if name in losses]
    weight = np.ones(len(user_ids)) if weight is None else weight
    means = {name: float(np.average(losses[name], weights=weight)) for name in names}
    best = min(names, key=lambda name: means[name])
    differences, errors = {}, {}
    for name in names:
        difference, error = clustered_mean(losses[name] - losses[best], user_ids, weight)
        differences[name], errors[name] = difference, 0.0 if name == best else error
    chosen = next(
        name for name in names if differences[name] <= errors[name] * (_ONE_SIDED_95 if name == null else 1.0)
    )
    return Comparison(chosen, means, differences, errors)
