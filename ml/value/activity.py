"""Who is still there: chance of being alive and lateness of every user, from the days on which they were active."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ml.value.beta_geometric import ModifiedBetaGeometric
from ml.value.errors import ValueModelError
from ml.value.rhythm import ActivityRhythm

# Weight of the assumption that fills in where activity tells too little, in users.
_PRIOR_USERS = 5.0


class ActivityModel:
    """Judges silence by a user's own rhythm and by the chance that the user has left for good.

    Both look at days with activity as others look at purchases: the rhythm at the gaps between them
    (`ActivityRhythm`), the chance at how often users stop after one of them (an MBG/NBD model). Whoever never paid has
    both figures as well.

    Args:
        late_after: see `ActivityRhythm`.

    Learned names:
        rhythm_: gaps among users.
        staying_: the MBG/NBD model of days with activity, None where nobody was ever active.
        messages_: sentences a person should read.
    """

    def __init__(self, *, late_after: float = 0.95) -> None:
        self.rhythm_ = ActivityRhythm(late_after=late_after)
        self.staying_: ModifiedBetaGeometric | None = None
        self.messages_: tuple[str, ...] = ()
        self._is_fitted = False

    def fit(
        self, active_days: ArrayLike, days_since_first_activity: ArrayLike, days_since_last_activity: ArrayLike
    ) -> "ActivityModel":
        """Learn from all users.

        Args:
            active_days: number of days with activity, shape (users,); 0 or NaN for who was never active.
            days_since_first_activity: NaN for who was never active.
            days_since_last_activity: likewise.
        """
        days, first, last = _checked(active_days, days_since_first_activity, days_since_last_activity)
        known = days >= 1
        self.rhythm_.fit(np.where(known, days, np.nan), np.where(known, first - last, np.nan))
        self.staying_, self.messages_ = None, ()
        if known.any() and first[known].max() > 0:
            history = (days[known] - 1, first[known] - last[known], first[known])
            staying = ModifiedBetaGeometric().fit(*history)
            if not staying.is_converged_:
                staying = ModifiedBetaGeometric(prior_strength=_PRIOR_USERS).fit(*history)
                self.messages_ = (
                    f"The activity of {int(known.sum())} users does not tell how they stop: their chance of being "
                    f"alive leans on an assumption worth {_PRIOR_USERS:g} users.",
                )
            self.staying_ = staying
        self._is_fitted = True
        return self

    def describe(
        self, active_days: ArrayLike, days_since_first_activity: ArrayLike, days_since_last_activity: ArrayLike
    ) -> pd.DataFrame:
        """One row per user; nobody's figures depend on the others.

        Returns:
            p_alive (NaN for who was never active), and usual_gap_days, days_late, late_from_days and is_late of
            `ActivityRhythm.describe`.
        """
        if not self._is_fitted:
            raise ValueModelError("Call fit first: nothing was learned yet.")
        days, first, last = _checked(active_days, days_since_first_activity, days_since_last_activity)
        known = days >= 1
        p_alive = np.full(len(days), np.nan)
        if self.staying_ is not None and known.any():
            p_alive[known] = self.staying_.p_alive(days[known] - 1, first[known] - last[known], first[known])
        silence = np.where(known, last, np.nan)
        late = self.rhythm_.describe(np.where(known, days, np.nan), np.where(known, first - last, np.nan), silence)
        return late[["usual_gap_days", "days_late", "late_from_days", "is_late"]].assign(p_alive=p_alive)

    def to_state(self) -> dict[str, Any]:
        """Everything learned, as arrays and JSON values."""
        if not self._is_fitted:
            raise ValueModelError("Call fit first: nothing was learned yet.")
        return {
            "rhythm": self.rhythm_.to_state(),
            "staying": None if self.staying_ is None else self.staying_.to_state(),
            "messages": list(self.messages_),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "ActivityModel":
        """Rebuild from `to_state`."""
        model = cls()
        model.rhythm_ = ActivityRhythm.from_state(state["rhythm"])
        staying = state["staying"]
        model.staying_ = None if staying is None else ModifiedBetaGeometric.from_state(staying)
        model.messages_ = tuple(state["messages"])
        model._is_fitted = True
        return model


def _checked(*columns: ArrayLike) -> tuple[np.ndarray, ...]:
    """Days, first and last for the same users, as float64; active days of who was never active are 0."""
    days, first, last = (np.atleast_1d(np.asarray(column, dtype=float)) for column in columns)
    if not days.shape == first.shape == last.shape:
        raise ValueModelError(
            "Give active_days, days_since_first_activity and days_since_last_activity for the same users."
        )
    days = np.where(np.isnan(first) | np.isnan(last), 0.0, np.nan_to_num(days))
    return days, first, last
