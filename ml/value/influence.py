"""What a return brings through friends: measured on past returns, drawn towards nothing where little was seen."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ml.value.errors import ValueModelError

# What is alike among friends who return anyway: how long they have been silent, how often they came back before, and
# when (seasons and campaigns bring many at once). From the coarse to the fine.
_GROUPS = (["silence_group", "earlier_lapses_group"], ["silence_group", "earlier_lapses_group", "period_number"])
# How many friends the coarser rate is worth beside a finer one.
_WORTH = 20.0


def friend_sums(moments: pd.DataFrame) -> pd.DataFrame:
    """What friends did after each user's returns, and what they would have done anyway.

    Args:
        moments: rows of features.friend_moments: user_id, is_after_return, silence_group, earlier_lapses_group,
            period_number, inactive_friends_count, returned_friends_count.

    Returns:
        One row per user with a return, index user_id, sorted: seen (inactive friends at the user's returns), returned
        (those of them who came back within the window) and expected (how many of them come back within a window that
        follows no return of the user: the rate of friends of the same silence, the same past and the same time of
        year).
    """
    sums = {"seen": "inactive_friends_count", "returned": "returned_friends_count"}
    is_after = moments["is_after_return"].to_numpy(dtype=bool)
    after, silent = moments[is_after], moments[~is_after]
    if silent.empty or after.empty:
        return pd.DataFrame(columns=["seen", "returned", "expected"], dtype=float)
    rate = silent["returned_friends_count"].sum() / silent["inactive_friends_count"].sum()
    expected = np.full(len(after), float(rate))
    for names in _GROUPS:
        group = silent.groupby(names)[list(sums.values())].sum()
        own = after[names].merge(group.reset_index(), how="left", on=names)[list(sums.values())].fillna(0.0).to_numpy()
        expected = (own[:, 1] + _WORTH * expected) / (own[:, 0] + _WORTH)
    table = after.assign(expected=expected * after["inactive_friends_count"])
    found = table.groupby("user_id", sort=True)[[*sums.values(), "expected"]].sum()
    return found.rename(columns={column: name for name, column in sums.items()})


class SocialInfluence:
    """Friends who come back because a user came back.

    Friends also return on their own: what is credited is the difference between the friends who came back after the
    user's returns and those expected anyway. The difference over all users is drawn towards nothing as far as chance
    alone could have made it (James and Stein), and a user's own towards that of all users by a beta-binomial: with few
    friends seen it is everybody's.

    Learned names:
        rate_after_return_: share of inactive friends who return within the window after a user's return.
        rate_otherwise_: share expected without a return of the user.
        extra_rate_: their difference, drawn towards nothing.
        standard_error_: of the difference before it is drawn.
        strength_: how many friends everybody's figure is worth beside a user's own.
        value_of_a_return_: money that a friend's return is worth on average.
        messages_: sentences a person should read.
    """

    def __init__(self) -> None:
        self.rate_after_return_ = 0.0
        self.rate_otherwise_ = 0.0
        self.extra_rate_ = 0.0
        self.standard_error_ = 0.0
        self.strength_ = np.inf
        self.value_of_a_return_ = 0.0
        self.messages_: tuple[str, ...] = ()

    def fit(
        self, seen: ArrayLike, returned: ArrayLike, expected: ArrayLike, *, value_of_a_return: float = 0.0
    ) -> "SocialInfluence":
        """Learn from past returns, summed per user; see `friend_sums`.

        Args:
            seen: inactive friends at the user's returns, shape (users,).
            returned: those of them who returned within the window.
            expected: how many of them would have returned anyway.
            value_of_a_return: money that a return of anybody is worth on average.
        """
        friends, came, anyway = (np.asarray(column, dtype=float) for column in (seen, returned, expected))
        in_order = (came >= 0) & (came <= friends + 1e-9) & (anyway >= 0) & (anyway <= friends + 1e-9)
        if not friends.shape == came.shape == anyway.shape or not in_order.all():
            raise ValueModelError("Give friends and those of them who returned: 0 <= returned <= friends.")
        vars(self).update(vars(SocialInfluence()))
        self.value_of_a_return_ = max(float(value_of_a_return), 0.0)
        total = float(friends.sum())
        if total == 0:
            self.messages_ = ("No return with inactive friends was seen yet: influence on friends counts as 0.",)
            return self
        self.rate_after_return_ = float(came.sum()) / total
        self.rate_otherwise_ = float(anyway.sum()) / total
        extra = self.rate_after_return_ - self.rate_otherwise_
        self.standard_error_ = float(np.sqrt(((came - anyway - extra * friends) ** 2).sum())) / total
        if extra > 0:
            self.extra_rate_ = extra * max(0.0, 1.0 - (self.standard_error_ / extra) ** 2)
        self.strength_ = _strength(friends, came, self.rate_after_return_)
        return self

    def extra_returns(
        self, inactive_friends: ArrayLike, seen: ArrayLike, returned: ArrayLike, expected: ArrayLike
    ) -> np.ndarray:
        """Friends who come back because this user comes back, shape (users,), at least 0.

        Args:
            inactive_friends: friends of the user who are inactive now; NaN counts as none.
            seen: as in `fit`, of the same user; NaN counts as nothing seen.
            returned: likewise.
            expected: likewise.
        """
        now, friends, came, anyway = (
            np.nan_to_num(np.asarray(column, dtype=float)) for column in (inactive_friends, seen, returned, expected)
        )
        if self.extra_rate_ == 0.0:
            # Where returns of friends are no more frequent than without the user's, single users are chance.
            return np.zeros(now.shape)
        rate = np.full(now.shape, self.extra_rate_)
        if np.isfinite(self.strength_):
            rate = (self.strength_ * self.extra_rate_ + came - anyway) / (self.strength_ + friends)
        return np.asarray(now * np.clip(rate, 0.0, 1.0))

    def value(
        self, inactive_friends: ArrayLike, seen: ArrayLike, returned: ArrayLike, expected: ArrayLike
    ) -> np.ndarray:
        """The same in money: extra returns times what a return is worth on average."""
        return self.extra_returns(inactive_friends, seen, returned, expected) * self.value_of_a_return_

    def to_state(self) -> dict[str, Any]:
        """Everything learned, as JSON values."""
        return {
            "rate_after_return": self.rate_after_return_,
            "rate_otherwise": self.rate_otherwise_,
            "extra_rate": self.extra_rate_,
            "standard_error": self.standard_error_,
            "strength": None if np.isinf(self.strength_) else self.strength_,
            "value_of_a_return": self.value_of_a_return_,
            "messages": list(self.messages_),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "SocialInfluence":
        """Rebuild from `to_state`."""
        influence = cls()
        for name in ("rate_after_return", "rate_otherwise", "extra_rate", "standard_error", "value_of_a_return"):
            setattr(influence, f"{name}_", float(state[name]))
        influence.strength_ = np.inf if state["strength"] is None else float(state["strength"])
        influence.messages_ = tuple(state["messages"])
        return influence


def _strength(friends: np.ndarray, returned: np.ndarray, rate: float) -> float:
    """Moment estimate of the beta-binomial's alpha + beta; infinite when users differ no more than chance lets them."""
    several = friends >= 2
    friends, returned = friends[several], returned[several]
    if len(friends) < 2 or rate in (0.0, 1.0):
        return np.inf
    # E (k - n p)^2 = n p (1-p) (1 + (n-1) rho), summed over users and solved for rho = 1 / (strength + 1).
    spread = float(((returned - friends * rate) ** 2).sum())
    by_chance = float((friends * rate * (1 - rate)).sum())
    by_users = float((friends * (friends - 1) * rate * (1 - rate)).sum())
    alike = (spread - by_chance) / by_users
    return 1.0 / alike - 1.0 if 0 < alike < 1 else (np.inf if alike <= 0 else 1e-6)
