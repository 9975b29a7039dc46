"""The truth of a world beside the product's users and events."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

_COLUMNS = (
    "p_return_if_not_contacted",
    "p_return_if_reached",
    "p_conversion_if_not_contacted",
    "p_conversion_if_reached",
    "revenue",
    "reward_cost",
    "contact_cost",
)


@dataclass(frozen=True)
class WorldTruth:
    """What would happen to users with open events; arrays are float64 of shape (users, events).

    Attributes:
        user_ids: the users, in the product's order.
        event_ids: the events, in the product's order.
        returns, conversions: P(return), P(conversion | return) if reached, and with suffix _alone if not contacted.
        revenue: expected revenue of a user who converts.
        reward_cost, contact_cost: money.
        reach: chance that a message is noticed, by channel.
        best_channel: object (users,), the channel with the highest reach of those agreed to, "" for none.
        is_known: whether the world knows the user as inactive; others are worth 0.
    """

    user_ids: np.ndarray
    event_ids: np.ndarray
    returns: np.ndarray
    returns_alone: np.ndarray
    conversions: np.ndarray
    conversions_alone: np.ndarray
    revenue: np.ndarray
    reward_cost: np.ndarray
    contact_cost: np.ndarray
    reach: dict[str, float]
    best_channel: np.ndarray
    is_known: np.ndarray

    @classmethod
    def read(cls, folder: Path, user_ids: np.ndarray, event_ids: np.ndarray) -> "WorldTruth":
        """Read a truth folder for these users and events, which may come in any order."""
        rows = pq.read_table(folder / "responses.parquet").to_pandas()
        channels = pq.read_table(folder / "channels.parquet").to_pandas()
        users, events = pd.Index(user_ids), pd.Index(event_ids)
        place = users.get_indexer(rows["user_id"]), events.get_indexer(rows["event_id"])
        is_wanted = (place[0] >= 0) & (place[1] >= 0)
        rows, where = rows[is_wanted], (place[0][is_wanted], place[1][is_wanted])
        cells = {name: np.zeros((len(users), len(events))) for name in _COLUMNS}
        for name in _COLUMNS:
            cells[name][where] = rows[name].to_numpy()
        best, known = np.full(len(users), "", dtype=object), np.zeros(len(users), dtype=bool)
        best[where[0]] = rows["best_channel"].fillna("").to_numpy(dtype=object)
        known[where[0]] = True
        return cls(
            user_ids=user_ids,
            event_ids=event_ids,
            returns=cells["p_return_if_reached"],
            returns_alone=cells["p_return_if_not_contacted"],
            conversions=cells["p_conversion_if_reached"],
            conversions_alone=cells["p_conversion_if_not_contacted"],
            revenue=cells["revenue"],
            reward_cost=cells["reward_cost"],
            contact_cost=cells["contact_cost"],
            reach=dict(zip(channels["channel"], channels["reach"], strict=True)),
            best_channel=best,
            is_known=known,
        )

    def values(self, channel: np.ndarray) -> np.ndarray:
        """Return the true expected incremental value of every invitation over each user's channel, (users, events).

        The formula is section 5 of the design; a message that is not noticed changes nothing, and a user without a
        channel is worth 0.
        """
        reach = np.array([self.reach.get(name, 0.0) for name in channel])[:, None]
        p_return = reach * self.returns + (1 - reach) * self.returns_alone
        pays = reach * self.returns * self.conversions + (1 - reach) * self.returns_alone * self.conversions_alone
        alone = self.returns_alone * self.conversions_alone * self.revenue
        value = pays * self.revenue - p_return * self.reward_cost - alone - self.contact_cost
        return np.where((channel != "")[:, None] & self.is_known[:, None], value, 0.0)
