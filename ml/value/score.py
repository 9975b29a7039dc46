"""What inviting a user to an event is worth, in money: the one place where that formula stands."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ml.value.errors import ValueModelError


@dataclass(frozen=True)
class ValueWeights:
    """How much of what lies beyond the horizon counts in the money of a decision; both 0 unless set.

    Attributes:
        lifetime_value: share of a user's lifetime value that a return is credited with.
        social_influence: share of the money that a return brings through friends.
    """

    lifetime_value: float = 0.0
    social_influence: float = 0.0

    def __post_init__(self) -> None:
        for name in ("lifetime_value", "social_influence"):
            weight = getattr(self, name)
            if not np.isfinite(weight) or weight < 0:
                raise ValueModelError(f"Set value_weights.{name} to a number of at least 0; it is {weight!r}.")

    @classmethod
    def from_mapping(cls, weights: Mapping[str, float]) -> "ValueWeights":
        """Read the table `value_weights` of the settings; an unknown key is an error."""
        unknown = sorted(set(weights) - {"lifetime_value", "social_influence"})
        if unknown:
            raise ValueModelError(
                f"Remove {', '.join(unknown)} from value_weights; it knows lifetime_value and social_influence."
            )
        return cls(**{name: float(weight) for name, weight in weights.items()})


def value_of_a_return(
    lifetime_value: ArrayLike, social_influence: ArrayLike, weights: ValueWeights | None = None
) -> np.ndarray:
    """Money a return is credited with beyond the horizon: weighted lifetime value plus weighted influence, per user."""
    weights = weights or ValueWeights()
    lifetime = np.asarray(lifetime_value, dtype=float)
    influence = np.asarray(social_influence, dtype=float)
    credited = np.zeros(np.broadcast_shapes(lifetime.shape, influence.shape))
    # A weight of nothing means "do not look": a missing lifetime value must then not spoil the sum.
    if weights.lifetime_value:
        credited = credited + weights.lifetime_value * lifetime
    if weights.social_influence:
        credited = credited + weights.social_influence * influence
    return credited


def expected_incremental_value(
    *,
    p_return: ArrayLike,
    p_return_if_not_contacted: ArrayLike,
    p_conversion: ArrayLike,
    p_conversion_if_not_contacted: ArrayLike,
    revenue: ArrayLike,
    revenue_if_not_contacted: ArrayLike,
    reward_cost: ArrayLike,
    contact_cost: ArrayLike,
    value_of_a_return: ArrayLike = 0.0,
) -> np.ndarray:
    """Money that inviting a user to an event adds over leaving the user alone.

    p_return * (p_conversion * revenue - reward_cost)
      - p_return_if_not_contacted * p_conversion_if_not_contacted * revenue_if_not_contacted
      - contact_cost
      + (p_return - p_return_if_not_contacted) * value_of_a_return

    Revenue is expected over `value_horizon_days` after a return. The reward is paid when the user responds, which is
    taken as certain on a return. The last line is 0 unless `value_weights` are set.

    Args:
        p_return: chance of a return if invited, shape (users, events), or (users,) for one event each.
        p_return_if_not_contacted: shape (users,) or as `p_return`; so are all `..._if_not_contacted`.
        p_conversion: chance that a user who returned pays, as `p_return`.
        p_conversion_if_not_contacted: the same for a user who returned uninvited.
        revenue: money of a user who converted, as `p_return`.
        revenue_if_not_contacted: money of a user who returned uninvited and converted.
        reward_cost: cost of one response, shape (events,) (or (users,) when `p_return` has one dimension) or a number.
        contact_cost: cost of one contact, as `reward_cost`.
        value_of_a_return: what a return is credited with beyond the horizon, shape (users,) or a number.

    Returns:
        float64 of the shape of `p_return`.

    Raises:
        ValueModelError: when shapes do not fit, a chance lies outside 0 to 1, or a figure is missing.
    """
    chance = _chance("p_return", p_return)
    if chance.ndim not in (1, 2):
        raise ValueModelError(f"Give p_return as (users, events) or (users,); it has {chance.ndim} dimensions.")

    def by_user(name: str, values: ArrayLike) -> np.ndarray:
        return _fit(name, values, chance.shape, axis=0)

    def by_event(name: str, values: ArrayLike) -> np.ndarray:
        return _fit(name, values, chance.shape, axis=chance.ndim - 1)

    chance_alone = _chance("p_return_if_not_contacted", by_user("p_return_if_not_contacted", p_return_if_not_contacted))
    conversion = _chance("p_conversion", by_user("p_conversion", p_conversion))
    conversion_alone = _chance(
        "p_conversion_if_not_contacted", by_user("p_conversion_if_not_contacted", p_conversion_if_not_contacted)
    )
    invited = chance * (conversion * by_user("revenue", revenue) - by_event("reward_cost", reward_cost))
    alone = chance_alone * conversion_alone * by_user("revenue_if_not_contacted", revenue_if_not_contacted)
    beyond = (chance - chance_alone) * by_user("value_of_a_return", value_of_a_return)
    return np.asarray(invited - alone - by_event("contact_cost", contact_cost) + beyond)


def value_score(
    *,
    expected_incremental_value: ArrayLike | None,
    p_return_if_not_contacted: ArrayLike,
    lifetime_value: ArrayLike,
) -> np.ndarray:
    """Money per user by which inactive users are ranked.

    With an open event the score is the `expected_incremental_value` of the user's best event (which already holds
    lifetime value and influence as far as `value_weights` let them in). A user without any open event (NaN there, or
    None for everybody) is worth what a return on their own would bring: p_return_if_not_contacted * lifetime_value.

    Args:
        expected_incremental_value: of the best event, shape (users,), NaN without one; None when no event is open.
        p_return_if_not_contacted: shape (users,).
        lifetime_value: shape (users,); NaN counts as 0.

    Returns:
        float64, shape (users,), never NaN.
    """
    chance = _chance("p_return_if_not_contacted", p_return_if_not_contacted)
    standing = chance * np.nan_to_num(np.asarray(lifetime_value, dtype=float), nan=0.0)
    if expected_incremental_value is None:
        return np.asarray(standing)
    incremental = np.asarray(expected_incremental_value, dtype=float)
    if incremental.shape != standing.shape:
        raise ValueModelError(
            f"Give one expected incremental value a user: {standing.shape} users, {incremental.shape} values."
        )
    return np.asarray(np.where(np.isnan(incremental), standing, incremental))


def rank_users(user_ids: ArrayLike, score: ArrayLike, segments: ArrayLike) -> pd.DataFrame:
    """Rank users by score, best first; equal scores are ordered by user_id, so that the order is always the same.

    Returns:
        One row per user in the order given: user_id, rank (1 is best), percentile (share of users that this user
        beats or equals, 0 to 100) and percentile_in_segment.
    """
    frame = pd.DataFrame({"user_id": user_ids, "segment": segments, "score": np.asarray(score, dtype=float)})
    order = frame.sort_values(["score", "user_id"], ascending=[False, True], kind="stable").index
    frame.loc[order, "rank"] = np.arange(1, len(frame) + 1)
    frame["percentile"] = frame["score"].rank(method="max", pct=True) * 100
    frame["percentile_in_segment"] = frame.groupby("segment", dropna=False)["score"].rank(method="max", pct=True) * 100
    return frame.astype({"rank": "int64"})[["user_id", "rank", "percentile", "percentile_in_segment"]]


def _chance(name: str, values: ArrayLike) -> np.ndarray:
    chances = np.asarray(values, dtype=float)
    # min and max carry a NaN through, and comparisons with NaN are false: one test finds both faults.
    if chances.size and not (chances.min() >= 0 and chances.max() <= 1):
        raise ValueModelError(f"Give {name} as chances between 0 and 1 without gaps.")
    return chances


def _fit(name: str, values: ArrayLike, shape: tuple[int, ...], *, axis: int) -> np.ndarray:
    """Bring a number, a vector along `axis` or a full array to something that broadcasts to `shape`."""
    array = np.asarray(values, dtype=float)
    if array.size and not np.isfinite(array).all():
        raise ValueModelError(f"Fill the gaps in {name}: every value must be a finite number.")
    if array.ndim == 0 or array.shape == shape:
        return array
    if array.shape == (shape[axis],):
        return array[:, None] if len(shape) == 2 and axis == 0 else array
    raise ValueModelError(
        f"Give {name} as one value {'a user' if axis == 0 else 'an event'}; its shape is {array.shape}."
    )
