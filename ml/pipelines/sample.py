"""Keeps some of the users that pass by, drawn by their ids alone: the same ones in whatever batches they come."""

import numpy as np
import pandas as pd

__all__ = ["UserSample"]

_ORDER, _USER = "_order", "_user_id"


class UserSample:
    """Of all users that were offered, those with the smallest hash of their id.

    Args:
        most: so many at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept = pd.DataFrame({_ORDER: np.zeros(0, dtype=np.uint64), _USER: np.zeros(0, dtype=object)})

    def rows_to_offer(self, user_ids: np.ndarray) -> np.ndarray:
        """Return positions of the users that are drawn as far as is known yet; all others need not be offered."""
        order = pd.util.hash_array(user_ids.astype(object), categorize=False)
        if len(self._kept) == self._most:
            return np.flatnonzero(order <= self._kept[_ORDER].iloc[-1])
        if len(order) <= self._most:
            return np.arange(len(order))
        return np.sort(np.argpartition(order, self._most)[: self._most])

    def add(self, user_ids: np.ndarray, rows: pd.DataFrame) -> None:
        """Offer users: their ids, (users,), and what is kept of each, a row a user."""
        order = pd.util.hash_array(user_ids.astype(object), categorize=False)
        offered = rows.reset_index(drop=True).assign(**{_ORDER: order, _USER: user_ids})
        together = pd.concat([self._kept, offered]) if len(self._kept) else offered
        # The id decides between users of the same hash.
        self._kept = together.sort_values([_ORDER, _USER]).head(self._most)

    @property
    def rows(self) -> pd.DataFrame:
        """What was kept, in the order of the users' ids."""
        return self._kept.sort_values(_USER).drop(columns=[_ORDER, _USER]).reset_index(drop=True)
