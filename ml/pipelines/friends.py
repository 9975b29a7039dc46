"""What returns brought through friends: read from the feature tables, learned in training, looked up in scoring."""

from datetime import date

import numpy as np
import pandas as pd

from ml.value import SocialInfluence, friend_sums
from warehouse.door import Warehouse

__all__ = ["FRIENDS", "FRIEND_SUMS", "SEEN_OF_FRIENDS", "influence_of_users", "learn_influence"]

#: Features of users that `influence_of_users` looks at.
FRIENDS = ("friends_count", "active_friends_count")
#: Columns of `SEEN_OF_FRIENDS` that it looks at.
FRIEND_SUMS = ("seen", "returned", "expected")
#: What was seen of users' friends in the last training by a date; a row a user of whom anything was.
SEEN_OF_FRIENDS = """
    select friends.user_id, friends.seen, friends.returned, friends.expected
    from predictions.friend_returns as friends
    where friends.as_of_date =
        (select max(as_of_date) from predictions.friend_returns where as_of_date <= %(as_of_date)s)
"""


def learn_influence(warehouse: Warehouse, as_of_date: date, *, value_of_a_return: float) -> SocialInfluence:
    """Learn what a return brings through friends, and replace the rows of predictions.friend_returns.

    Args:
        warehouse: where features.friend_moments is; without it nothing is credited to anybody.
        as_of_date: the date of the training.
        value_of_a_return: money that the return of a friend is worth on average.
    """
    sums = pd.DataFrame(columns=list(FRIEND_SUMS), dtype=float)
    if warehouse.scalar("select to_regclass('features.friend_moments') is not null"):
        sums = friend_sums(
            warehouse.read_frame(
                "select user_id, is_after_return, period_number, silence_group, earlier_lapses_group,"
                " inactive_friends_count, returned_friends_count from features.friend_moments"
                ' order by user_id collate "C", is_after_return, period_number, silence_group, earlier_lapses_group'
            )
        )
    rows = sums.rename_axis("user_id").reset_index().assign(as_of_date=as_of_date)
    with warehouse.transaction() as connection:
        warehouse.replace_rows(connection, "predictions.friend_returns", rows, {"as_of_date": as_of_date})
    return SocialInfluence().fit(sums["seen"], sums["returned"], sums["expected"], value_of_a_return=value_of_a_return)


def influence_of_users(influence: SocialInfluence, features: pd.DataFrame, sums: np.ndarray) -> np.ndarray:
    """Return the money that a return of each user brings through friends, shape (users,).

    Args:
        influence: what was learned.
        features: of the users, index user_id; without friends_count and active_friends_count nobody has friends.
        sums: `FRIEND_SUMS` of the same users, shape (users, 3); who has NaN is credited with what is usual.
    """
    if not set(FRIENDS) <= set(features.columns):
        return np.zeros(len(features))
    friends, active = (features[name].to_numpy(dtype=np.float64, na_value=0.0) for name in FRIENDS)
    return influence.value(np.maximum(friends - active, 0.0), *sums.T)
