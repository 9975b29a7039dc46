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
        self._offered: list[pd.DataFrame] = []
        self._count = 0
        # The hash of the last one who was kept when so many had been offered that some were not.
        self._last: np.uint64 | None = None

    def rows_to_offer(self, user_ids: np.ndarray) -> np.ndarray:
        """Return positions of the users that are drawn as far as is known yet; all others need not be offered."""
        order = pd.util.hash_array(user_ids.astype(object), categorize=False)
        if self._last is not None:
            return np.flatnonzero(order <= self._last)
        if len(order) <= self._most:
            return np.arange(len(order))
        return np.sort(np.argpartition(order, self._most)[: self._most])

    def add(self, user_ids: np.ndarray, rows: pd.DataFrame) -> None:
        """Offer users: their ids, (users,), and what is kept of each, a row a user."""
        order = pd.util.hash_array(user_ids.astype(object), categorize=False)
        self._offered.append(rows.reset_index(drop=True).assign(**{_ORDER: order, _USER: user_ids}))
        self._count += len(order)
        # To choose among all after every batch would take longer than what the sample is for.
        if self._count > 2 * self._most:
            kept = self._kept()
            self._offered, self._count, self._last = [kept], len(kept), kept[_ORDER].to_numpy().max()

    @property
    def rows(self) -> pd.DataFrame:
        """What was kept, in the order of the users' ids."""
        return self._kept().sort_values(_USER).drop(columns=[_ORDER, _USER]).reset_index(drop=True)

    def _kept(self) -> pd.DataFrame:
        """Those with the smallest hashes of all who were offered; the id decides between users of the same hash."""
        if not self._offered:
            return pd.DataFrame({_ORDER: np.zeros(0, dtype=np.uint64), _USER: np.zeros(0, dtype=object)})
        offered = pd.concat(self._offered)
        if len(offered) <= self._most:
            return offered
        order = offered[_ORDER].to_numpy()
        near = offered[order <= np.partition(order, self._most - 1)[self._most - 1]]
        return near if len(near) == self._most else near.sort_values([_ORDER, _USER]).head(self._most)
