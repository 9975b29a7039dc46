"""What decisions are made from besides chances and money - rules and rights - and what comes out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

import numpy as np
import pandas as pd

from ml.contracts import ResponseMatrix
from ml.experiments import Split, holdout_salt, period_of, policy_salt
from ml.matching import MatchingPlan

__all__ = [
    "CHEAPEST",
    "MONEY_DIGITS",
    "DecisionError",
    "DecisionRules",
    "Decisions",
    "EventLimits",
    "PlanError",
    "Population",
]

MONEY_DIGITS = 6

# The business rule's word for the open event that costs least.
CHEAPEST = "cheapest"

Policy = Literal["targeted", "random", "rule"]

# Standard error of the sum of the values of pairs: rows of the matrix, columns of its events, channels, each (pairs,).
PlanError = Callable[[np.ndarray, np.ndarray, np.ndarray], float]


class DecisionError(ValueError):
    """Decisions cannot be made from what the warehouse holds; the message says what is missing."""


@dataclass(frozen=True)
class EventLimits:
    """Limits of each event of a type within a plan: least users and most money, None for none."""

    minimum: int | None = None
    budget: float | None = None


@dataclass(frozen=True)
class DecisionRules:
    """The settings that decisions depend on.

    Attributes:
        budget: money that invitations may cost in expectation, None for no limit.
        holdout_share, control_share, exploration_share: shares of users (holdout), of the chosen (control) and of the
            users and limits that are given away at random (exploration).
        contacts_per_user, contact_days: at most so many contacts in so many days.
        seed: every draw follows from it.
        holdout_renewal_days: after so many days holdout and policies are drawn anew.
        rule_share: share of the users and limits that the business's own rule chooses.
        rule_top_share: share of those users that it invites, the first in its order.
        rule_event: "cheapest" or the type of event it invites to.
        events: limits by type of event.
        segment_shares: least and largest share of the targeted users by segment, None for no limit.
    """

    budget: float | None
    holdout_share: float
    control_share: float
    exploration_share: float
    contacts_per_user: int
    contact_days: int
    seed: int
    holdout_renewal_days: int = 182
    rule_share: float = 0.0
    rule_top_share: float = 1.0
    rule_event: str = CHEAPEST
    events: Mapping[str, EventLimits] = field(default_factory=dict)
    segment_shares: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse shares that together give away more than everybody."""
        if self.exploration_share + self.rule_share > 1:
            raise DecisionError("exploration_share and business_rule.share add up to more than 1: lower one of them.")

    def period(self, as_of_date: date) -> int:
        """Number of the period that a date lies in; holdout and policies stay the same within it."""
        return period_of(as_of_date, self.holdout_renewal_days)

    def holdout_salt(self, as_of_date: date) -> str:
        """Salt of the holdout in force on a date."""
        return holdout_salt(self.seed, self.period(as_of_date))

    def policies(self, as_of_date: date, *, is_first_plan: bool = False) -> Split:
        """How users are shared out between the ways of choosing on a date.

        The models own the buckets in the middle, so that raising another share takes users from them alone. Of a first
        plan, which knows nothing, chance owns all.
        """
        shares = (1.0, 0.0) if is_first_plan else (self.exploration_share, self.rule_share)
        arms = (("random", shares[0]), ("targeted", 1 - shares[0] - shares[1]), ("rule", shares[1]))
        return Split(policy_salt(self.seed, self.period(as_of_date)), arms)


@dataclass(frozen=True)
class Population:
    """What is known of the inactive users besides their responses; rows as in the response matrix.

    Attributes:
        channel: shape (users,), the channel over which a user would be invited, "" where there is none.
        is_suppressed: shape (users,), consented, but every such channel is on the suppression list.
        recent_contacts: shape (users,), contacts within the cap's days.
        already_exposed: shape (users, events), exposed to the event before (or its control).
        segment: shape (users,), name of the segment, "" where unknown.
        is_barred: shape (users, events), the event is not for users of this country or age. None bars nobody.
        planned_contacts: shape (users,), events that published plans of the cap's days invite to and that are no
            contact yet; None for none.
        is_planned: shape (users, events), the event is one of them.
        earlier_policy: shape (users, events), how published plans chose the event for the user before, "" for not.
        was_held_back: shape (users, events), and whether the user was then held back as its control.
        rule_score: shape (users,), what the business's rule orders by, best first when larger, NaN last.
        stopped: why an event invites nobody any more, by event_id.
    """

    channel: np.ndarray
    is_suppressed: np.ndarray
    recent_contacts: np.ndarray
    already_exposed: np.ndarray
    segment: np.ndarray
    is_barred: np.ndarray | None = None
    planned_contacts: np.ndarray | None = None
    is_planned: np.ndarray | None = None
    earlier_policy: np.ndarray | None = None
    was_held_back: np.ndarray | None = None
    rule_score: np.ndarray | None = None
    stopped: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Decisions:
    """The outcome: one row a user, and the plan behind it.

    Attributes:
        frame: columns of `predictions.decisions` but as_of_date and model_version, ordered as the matrix.
        assignments: columns of `experiments.assignments` but as_of_date, same rows.
        plan: what the matching chose among those who were not drawn at random or by the business's rule.
        candidates: users whom some event would have added value to and who may be invited.
        cost: expected cost of all invitations.
        notes: what a person should know of how the plan was made.
    """

    frame: pd.DataFrame
    assignments: pd.DataFrame
    plan: MatchingPlan
    candidates: int
    cost: float
    notes: tuple[str, ...]


def expected_costs(matrix: ResponseMatrix) -> np.ndarray:
    """What inviting each user to each event is expected to cost: contact_cost + p_return * reward_cost."""
    reward = matrix.events["reward_cost"].to_numpy(dtype=np.float64)
    contact = matrix.events["contact_cost"].to_numpy(dtype=np.float64)
    return np.asarray(np.round(contact + matrix.p_return * reward, MONEY_DIGITS))
