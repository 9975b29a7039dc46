"""What a return brings through friends: measured on past returns, drawn towards the mean where little was seen."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ml.value.errors import ValueModelError


class SocialInfluence:
    """Friends who come back because a user came back.

    For every past return of a user the friends who were inactive at that moment are counted, and those of them who
    returned within the window (14 days). The same is counted around moments at which the user did not return. What is
    credited is the difference: friends also return on their own.

    A user's own figure is drawn towards that of all users by a beta-binomial: with few friends seen it is everybody's.

    Learned names:
        rate_after_return_: share of inactive friends who return within the window after a user's return.
        rate_otherwise_: the same after a moment without a return of the user.
        strength_: how many friends everybody's figure is worth beside a user's own.
        messages_: sentences a person should read.
    """

    def __init__(self) -> None:
        self.rate_after_return_ = 0.0
        self.rate_otherwise_ = 0.0
        self.strength_ = np.inf
        self.messages_: tuple[str, ...] = ()

    def fit(
        self,
        friends_after_return: ArrayLike,
        returned_after_return: ArrayLike,
        friends_otherwise: ArrayLike,
        returned_otherwise: ArrayLike,
    ) -> "SocialInfluence":
        """Learn from past moments, summed per user.

        Args:
            friends_after_return: inactive friends at the user's returns, shape (users,).
            returned_after_return: those of them who returned within the window.
            friends_otherwise: inactive friends at moments without a return of the user.
            returned_otherwise: those of them who returned within the window.
        """
        seen, came, seen_else, came_else = (
            np.asarray(column, dtype=float)
            for column in (friends_after_return, returned_after_return, friends_otherwise, returned_otherwise)
        )
        for friends, returned in ((seen, came), (seen_else, came_else)):
            if friends.shape != returned.shape or not ((returned >= 0) & (returned <= friends)).all():
                raise ValueModelError("Give friends and those of them who returned: 0 <= returned <= friends.")
        self.messages_ = ()
        if seen.sum() == 0 or seen_else.sum() == 0:
            self.rate_after_return_ = self.rate_otherwise_ = 0.0
            self.strength_ = np.inf
            self.messages_ = ("No return with inactive friends was seen yet: influence on friends counts as 0.",)
            return self
        self.rate_after_return_ = float(came.sum() / seen.sum())
        self.rate_otherwise_ = float(came_else.sum() / seen_else.sum())
        self.strength_ = _strength(seen, came, self.rate_after_return_)
        return self

    def extra_returns(
        self, inactive_friends: ArrayLike, friends_after_return: ArrayLike, returned_after_return: ArrayLike
    ) -> np.ndarray:
        """Friends who come back because this user comes back, shape (users,), at least 0.

        Args:
            inactive_friends: friends of the user who are inactive now.
            friends_after_return: as in `fit`, of the same user.
            returned_after_return: as in `fit`, of the same user.
        """
        now, seen, came = (
            np.nan_to_num(np.asarray(column, dtype=float))
            for column in (inactive_friends, friends_after_return, returned_after_return)
        )
        if np.isinf(self.strength_):
            rate = np.full(now.shape, self.rate_after_return_)
        else:
            rate = (self.strength_ * self.rate_after_return_ + came) / (self.strength_ + seen)
        return np.asarray(now * np.maximum(rate - self.rate_otherwise_, 0.0))

    def value(
        self,
        inactive_friends: ArrayLike,
        friends_after_return: ArrayLike,
        returned_after_return: ArrayLike,
        *,
        value_of_a_return: float,
    ) -> np.ndarray:
        """The same in money: extra returns times what a return is worth on average."""
        extra = self.extra_returns(inactive_friends, friends_after_return, returned_after_return)
        return np.asarray(extra * float(value_of_a_return))

    def to_state(self) -> dict[str, Any]:
        """Everything learned, as JSON values."""
        return {
            "rate_after_return": self.rate_after_return_,
            "rate_otherwise": self.rate_otherwise_,
            "strength": None if np.isinf(self.strength_) else self.strength_,
            "messages": list(self.messages_),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "SocialInfluence":
        """Rebuild from `to_state`."""
        influence = cls()
        influence.rate_after_return_ = float(state["rate_after_return"])
        influence.rate_otherwise_ = float(state["rate_otherwise"])
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
