"""Inactivity by a user's own rhythm: how late somebody is against their own usual gap, and who counts as lapsed.

Gaps between days of activity are taken as exponential with a rate of the user's own, rates as Gamma(shape, scale)
among users. From n gaps over a span of S days the next gap exceeds g with chance ((scale+S)/(scale+S+g))^(shape+n):
a daily player is late after days, a yearly visitor after years, and a user seen once is judged by everybody's rhythm.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import digamma, gammaln

from ml.value.errors import ValueModelError
from ml.value.likelihood import Curve, maximise, trigamma

DEFINITIONS = ("fixed", "rhythm", "p_alive")
_STARTS = ((1.0, 1.0), (0.3, 0.1), (3.0, 5.0))
_PRIOR_USERS = 2.0


class ActivityRhythm:
    """Learns how often users come, and says how unusual the present silence of each is.

    Args:
        late_after: share of a user's own gaps that are shorter than the silence from which on the user counts as
            late; .95 means that such a silence is expected once in twenty gaps.

    Learned names:
        shape_, scale_: of the gamma distribution of rates (a day) among users.
    """

    def __init__(self, *, late_after: float = 0.95) -> None:
        if not 0 < late_after < 1:
            raise ValueModelError(f"Set late_after between 0 and 1; it is {late_after}.")
        self.late_after = late_after
        self.shape_ = np.nan
        self.scale_ = np.nan

    def fit(self, active_days: ArrayLike, span_days: ArrayLike) -> "ActivityRhythm":
        """Learn from all users.

        Args:
            active_days: number of days with activity, shape (users,); at least 1, NaN for who was never active.
            span_days: days from the first to the last of them, 0 for one day.
        """
        gaps, span = _gaps(active_days, span_days)
        usable = (gaps > 0) & (span > 0)
        if not usable.any():
            # Nobody came twice: a gap of a month, held loosely, until somebody does.
            self.shape_, self.scale_ = 1.0, 30.0
            return self
        unit = float(span[usable].sum() / gaps[usable].sum())
        found = maximise(
            _curve(gaps[usable], span[usable] / unit),
            _STARTS,
            weight=float(usable.sum()),
            prior_strength=_PRIOR_USERS,
        )
        self.shape_, self.scale_ = float(found.parameters[0]), float(found.parameters[1]) * unit
        return self

    def describe(
        self, active_days: ArrayLike, span_days: ArrayLike, days_since_last_activity: ArrayLike
    ) -> pd.DataFrame:
        """One row per user; nobody's figures depend on the others.

        Returns:
            usual_gap_days (the median gap to expect of the user), days_late (days of silence beyond the usual gap, 0
            when not late), late_from_days (the silence from which on the user counts as late), p_silence (chance that
            a user who is still there stays silent this long) and is_late.
        """
        if np.isnan(self.shape_):
            raise ValueModelError("Call fit first: nothing was learned yet.")
        gaps, span = _gaps(active_days, span_days)
        silence = np.asarray(days_since_last_activity, dtype=float)
        if silence.shape != gaps.shape:
            raise ValueModelError("Give active_days, span_days and days_since_last_activity for the same users.")
        shape, scale = self.shape_ + gaps, self.scale_ + span
        usual = scale * np.expm1(np.log(2.0) / shape)
        late_from = scale * np.expm1(-np.log(1.0 - self.late_after) / shape)
        return pd.DataFrame(
            {
                "usual_gap_days": usual,
                "days_late": np.maximum(silence - usual, 0.0),
                "late_from_days": late_from,
                "p_silence": np.exp(-shape * np.log1p(silence / scale)),
                # Never active (NaN silence) is not late: there is no rhythm to fall out of.
                "is_late": silence > late_from,
            }
        )

    def to_state(self) -> dict[str, Any]:
        """Everything learned, as JSON values."""
        return {"late_after": self.late_after, "shape": self.shape_, "scale": self.scale_}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "ActivityRhythm":
        """Rebuild from `to_state`."""
        rhythm = cls(late_after=float(state["late_after"]))
        rhythm.shape_, rhythm.scale_ = float(state["shape"]), float(state["scale"])
        return rhythm


def compare_definitions(inactive: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """How many users each definition of inactivity adds to the fixed one, or removes from it.

    Args:
        inactive: for each definition of DEFINITIONS, who is inactive by it, bool of shape (users,).

    Returns:
        One row per definition: definition, users (inactive by it), added and removed (against "fixed").
    """
    fixed = np.asarray(inactive["fixed"], dtype=bool)
    rows = []
    for definition in DEFINITIONS:
        chosen = np.asarray(inactive[definition], dtype=bool)
        rows.append(
            {
                "definition": definition,
                "users": int(chosen.sum()),
                "added": int((chosen & ~fixed).sum()),
                "removed": int((fixed & ~chosen).sum()),
            }
        )
    return pd.DataFrame(rows)


def _gaps(active_days: ArrayLike, span_days: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    days, span = np.asarray(active_days, dtype=float), np.asarray(span_days, dtype=float)
    if days.shape != span.shape:
        raise ValueModelError("Give active_days and span_days for the same users.")
    gaps = np.maximum(np.nan_to_num(days) - 1.0, 0.0)
    span = np.nan_to_num(span)
    if (span < 0).any():
        raise ValueModelError("Give span_days of at least 0: the days from the first to the last activity.")
    return gaps, span


def _curve(gaps: np.ndarray, span: np.ndarray) -> Callable[[np.ndarray], Curve]:
    """Log-likelihood of (gaps, span): span given the rate is Gamma(gaps, rate), the rate Gamma(shape, scale)."""
    counts, of_count = np.unique(gaps, return_inverse=True)
    by_count = np.bincount(of_count).astype(float)
    users = float(len(gaps))

    def curve(parameters: np.ndarray) -> Curve:
        shape, scale = parameters
        whole, per = np.log(scale + span), 1.0 / (scale + span)
        value = (
            by_count @ (gammaln(shape + counts) - gammaln(shape))
            + users * shape * np.log(scale)
            - (shape + gaps) @ whole
        )
        gradient = np.array(
            [
                by_count @ (digamma(shape + counts) - digamma(shape)) + users * np.log(scale) - whole.sum(),
                users * shape / scale - (shape + gaps) @ per,
            ]
        )
        mixed = users / scale - per.sum()
        hessian = np.array(
            [
                [by_count @ (trigamma(shape + counts) - trigamma(shape)), mixed],
                [mixed, -users * shape / scale**2 + (shape + gaps) @ per**2],
            ]
        )
        return float(value), gradient, hessian

    return curve
