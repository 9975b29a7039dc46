"""One decision for every inactive user, from figures alone: who may be invited, who draws what, who is chosen.

The order in which a user meets the rules is the order of the functions here: no open event, holdout, suppressed,
drawn at random (exploration), chosen by the matching, held back as a control, or none. Every draw is a hash of the
seed, the date and the user's id, so that it can be repeated, and explained, years later.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.contracts import ResponseMatrix
from ml.experiments import (
    holdout_salt,
    is_in_share,
    smallest_visible_difference,
    uniforms,
    users_for_proportions,
)
from ml.matching import MatchingPlan, MatchingProblem, describe_prices, solve_matching

MONEY_DIGITS = 6

# A first, randomised plan: the rise of the return rate it should show with 80 % power, and the share it holds back, at
# which a given number of users shows most.
FIRST_PLAN_RISE = 0.05
FIRST_PLAN_CONTROL_SHARE = 0.5


class DecisionError(ValueError):
    """Decisions cannot be made from what the warehouse holds; the message says what is missing."""


@dataclass(frozen=True)
class DecisionRules:
    """The settings that decisions depend on.

    Attributes:
        budget: money that invitations may cost in expectation, None for no limit.
        holdout_share, control_share, exploration_share: shares of users (holdout), of the chosen (control) and of the
            users and limits that are given away at random (exploration).
        contacts_per_user, contact_days: at most so many contacts in so many days.
        seed: every draw follows from it.
    """

    budget: float | None
    holdout_share: float
    control_share: float
    exploration_share: float
    contacts_per_user: int
    contact_days: int
    seed: int


@dataclass(frozen=True)
class Population:
    """What is known of the inactive users besides their responses; rows as in the response matrix.

    Attributes:
        channel: shape (users,), the channel over which a user would be invited, "" where there is none.
        is_suppressed: shape (users,), consented, but every such channel is on the suppression list.
        recent_contacts: shape (users,), contacts within the cap's days.
        already_exposed: shape (users, events), exposed to the event before (or its control).
        segment: shape (users,), name of the segment, "" where unknown.
    """

    channel: np.ndarray
    is_suppressed: np.ndarray
    recent_contacts: np.ndarray
    already_exposed: np.ndarray
    segment: np.ndarray


@dataclass(frozen=True)
class Decisions:
    """The outcome: one row a user, and the plan behind it.

    Attributes:
        frame: columns of `predictions.decisions` but as_of_date and model_version, ordered as the matrix.
        plan: what the matching chose among those who were not drawn at random.
        candidates: users whom some event would have added value to and who may be invited.
        cost: expected cost of all invitations.
        notes: what a person should know of how the plan was made.
    """

    frame: pd.DataFrame
    plan: MatchingPlan
    candidates: int
    cost: float
    notes: tuple[str, ...]


def expected_costs(matrix: ResponseMatrix) -> np.ndarray:
    """What inviting each user to each event is expected to cost: contact_cost + p_return * reward_cost."""
    reward = matrix.events["reward_cost"].to_numpy(dtype=np.float64)
    contact = matrix.events["contact_cost"].to_numpy(dtype=np.float64)
    return np.round(contact + matrix.p_return * reward, MONEY_DIGITS)


def _by_event(array: np.ndarray) -> np.ndarray:
    """A figure of the user alone as a column, one of user and event as it is."""
    return array[:, None] if array.ndim == 1 else array


def decide(matrix: ResponseMatrix, values: np.ndarray, population: Population, rules: DecisionRules) -> Decisions:
    """Give every user of the matrix one decision.

    `values` is the expected incremental value of each pair, shape (users, events). Places and expected money are never
    exceeded. Nothing in the choice looks at who is going to be a control, so that controls differ from those invited by
    chance alone; what matched controls would have cost is not spent.
    """
    board = Board(matrix, values, population, rules)
    if matrix.events.empty:
        board.settle(board.is_open, "no_event", [f"No event is open on {matrix.as_of_date}."] * board.users)
        return board.finished(solve_matching(MatchingProblem(board.values)))
    board.hold_out()
    board.suppress()
    board.candidates = int((board.is_open & ((board.values > 0) & board.allowed).any(axis=1)).sum())
    board.draw_at_random()
    plan = board.match()
    board.hold_back_controls()
    board.explain_the_rest(plan)
    return board.finished(plan)


class Board:
    """The decisions in the making: what is still open, and what has been settled and why."""

    def __init__(
        self, matrix: ResponseMatrix, values: np.ndarray, population: Population, rules: DecisionRules
    ) -> None:
        needed = {"event_id", "event_type", "title", "reward_cost", "contact_cost", "capacity_left", "evidence"}
        missing = needed - set(matrix.events.columns)
        if missing:
            raise DecisionError(f"The open events lack {', '.join(sorted(missing))}: build the features again.")
        self.matrix, self.population, self.rules = matrix, population, rules
        self.users = len(matrix.user_ids)
        self.values = np.round(values, MONEY_DIGITS)
        self.costs = expected_costs(matrix)
        self.allowed = (population.channel != "")[:, None] & ~population.already_exposed
        self.titles = matrix.events["title"].astype(str).to_numpy(dtype=object)
        self.capacities = matrix.events["capacity_left"].to_numpy(dtype=np.float64, na_value=np.inf)
        self.decision = np.full(self.users, "", dtype=object)
        self.arm = np.full(self.users, "none", dtype=object)
        self.reason = np.full(self.users, "", dtype=object)
        self.event = np.full(self.users, -1, dtype=np.int64)
        self.propensity = np.zeros(self.users)
        self.selection_probability = np.full(self.users, np.nan)
        self.candidates = 0
        # Nothing known of any open event is a cold start: whoever is chosen by such scores is chosen by noise.
        self.is_first_plan = bool((matrix.events["evidence"] == "insufficient").all()) and not matrix.events.empty
        self.control_share = FIRST_PLAN_CONTROL_SHARE if self.is_first_plan else rules.control_share
        self.is_control = is_in_share(self.salt("control"), self.control_share, matrix.user_ids)
        self.first_plan_users = 0

    @property
    def is_open(self) -> np.ndarray:
        """Users without a decision and without an event."""
        return (self.decision == "") & (self.event < 0)

    def salt(self, draw: str) -> str:
        """Salt of a draw of this date."""
        return f"{draw}/{self.rules.seed}/{self.matrix.as_of_date.isoformat()}"

    def settle(self, users: np.ndarray, decision: str, reasons: list[str]) -> None:
        """Decide for some users (a mask), with one reason each for those in it."""
        self.decision[users] = decision
        self.reason[users] = reasons

    def hold_out(self) -> None:
        """Settle the users who are never contacted, so that the whole programme can be measured."""
        held = is_in_share(holdout_salt(self.rules.seed), self.rules.holdout_share, self.matrix.user_ids)
        self.arm[held] = "holdout"
        reason = f"In the permanent holdout: {self.rules.holdout_share:.1%} of all users are never contacted."
        self.settle(held, "holdout", [reason] * int(held.sum()))

    def suppress(self) -> None:
        """Settle the users who must not be contacted."""
        rules = self.rules
        listed = self.is_open & self.population.is_suppressed
        self.settle(
            listed, "suppressed", ["On the suppression list for every channel with consent."] * int(listed.sum())
        )
        silent = self.is_open & (self.population.channel == "")
        self.settle(silent, "suppressed", ["No marketing consent for any channel."] * int(silent.sum()))
        capped = self.is_open & (self.population.recent_contacts >= rules.contacts_per_user)
        counts = self.population.recent_contacts[capped].astype(int)
        self.settle(
            capped,
            "suppressed",
            [f"Contacted {n} times in {rules.contact_days} days; at most {rules.contacts_per_user}." for n in counts],
        )
        done = self.is_open & self.population.already_exposed.all(axis=1)
        number = self.matrix.events.shape[0]
        self.settle(done, "suppressed", [f"Already exposed to every open event ({number})."] * int(done.sum()))

    def draw_at_random(self) -> None:
        """Give a share of the users one of their events at random, within the same share of money and places.

        Users come in an order drawn by hash; each draws among the events that still have a place and fit into the
        money, all with the same chance, which is logged. Where no open event has evidence yet (cold start) the share is
        everything, and as many users are drawn as the power calculator asks for.
        """
        share = 1.0 if self.is_first_plan else self.rules.exploration_share
        pool = self.is_open & is_in_share(self.salt("exploration"), share, self.matrix.user_ids)
        users = np.flatnonzero(pool)
        if users.size == 0:
            return
        self.first_plan_users = self._users_of_first_plan(users) if self.is_first_plan else users.size
        ids = self.matrix.user_ids[users]
        order = np.argsort(uniforms(self.salt("order"), ids), kind="stable")
        draws = uniforms(self.salt("event"), ids)
        money = np.inf if self.rules.budget is None else self.rules.budget * share
        places = np.floor(self.capacities * share)
        why = "what the open events do is not known yet; drawn" if self.is_first_plan else "for evidence, drawn"
        drawn = 0
        for position in order:
            if drawn >= self.first_plan_users or not (places >= 1).any():
                break
            user = users[position]
            fitting = np.flatnonzero(self.allowed[user] & (places >= 1) & (self.costs[user] <= money))
            if fitting.size == 0:
                continue
            event = fitting[int(draws[position] * fitting.size)]
            self.event[user] = event
            self.arm[user] = "random"
            self.selection_probability[user] = 1 / fitting.size
            drawn += 1
            # Who is going to be held back draws as everybody does, but takes neither place nor money from others.
            if not self.is_control[user]:
                places[event] -= 1
                money -= self.costs[user, event]
            self.reason[user] = f"Random arm: {why} among {fitting.size} open events; it was {self.titles[event]}."

    def _users_of_first_plan(self, users: np.ndarray) -> int:
        """Users, invited and held back, that show a rise of `FIRST_PLAN_RISE` for each event type."""
        baseline = self._baseline(users)
        each = users_for_proportions(baseline, baseline + FIRST_PLAN_RISE)
        return int(2 * np.ceil(each)) * int(self.matrix.events["event_type"].nunique())

    def _baseline(self, users: np.ndarray) -> float:
        """Share of the users who are expected to return uninvited, away from 0 and 1."""
        return float(np.clip(np.mean(self.matrix.p_return_if_not_contacted[users]), 0.01, 0.9))

    def match(self) -> MatchingPlan:
        """Choose for everybody else what adds most value within the money and places that are left."""
        drawn = np.flatnonzero((self.event >= 0) & ~self.is_control)
        spent = float(self.costs[drawn, self.event[drawn]].sum())
        taken = np.bincount(self.event[drawn], minlength=self.capacities.size)
        plan = solve_matching(
            MatchingProblem(
                self.values,
                costs=self.costs,
                allowed=self.allowed & self.is_open[:, None],
                budget=None if self.rules.budget is None else max(0.0, self.rules.budget - spent),
                capacities=self.capacities - taken,
            )
        )
        chosen = np.flatnonzero(plan.event >= 0)
        self.event[chosen] = plan.event[chosen]
        self.arm[chosen] = "targeted"
        self.selection_probability[chosen] = 1.0
        self.reason[chosen] = [self._why_this(user) for user in chosen]
        return plan

    def _why_this(self, user: np.intp) -> str:
        """Why the matching gave a user this event and no other."""
        event = self.event[user]
        others = np.where(self.allowed[user], self.values[user], -np.inf)
        others[event] = -np.inf
        text = (
            f"{self.titles[event]} adds {self.values[user, event]:.2f}: {self.matrix.p_return[user, event]:.1%} return "
            f"if invited, {self._alone(user, event):.1%} if not; expected cost {self.costs[user, event]:.2f}."
        )
        best = others.argmax()
        if others[best] > self.values[user, event]:
            return f"{text} {self.titles[best]} would add {others[best]:.2f}, but its limits serve others better."
        if np.isfinite(others[best]):
            return f"{text} Next best: {self.titles[best]} with {others[best]:.2f}."
        return f"{text} It is the only event open to this user."

    def _alone(self, user: np.intp, event: np.intp) -> float:
        """Chance that the user returns uninvited."""
        alone = self.matrix.p_return_if_not_contacted
        return float(alone[user] if alone.ndim == 1 else alone[user, event])

    def hold_back_controls(self) -> None:
        """Settle the chosen of both arms: those drawn by hash are left out on purpose, the others are targets."""
        chosen = self.event >= 0
        held = chosen & self.is_control
        self.propensity[chosen] = 1 - self.control_share
        self.decision[chosen] = "target"
        self.decision[held] = "control"
        share = f"Control: chosen, then held back at random ({self.control_share:.1%} of the chosen). "
        self.reason[held] = [share + reason for reason in self.reason[held]]
        invited = np.flatnonzero(chosen & ~held)
        self.reason[invited] = [f"{self.reason[user]} Over {self.population.channel[user]}." for user in invited]

    def explain_the_rest(self, plan: MatchingPlan) -> None:
        """Settle those for whom no event is worth inviting, or whose place and money went further elsewhere."""
        rest = np.flatnonzero(self.is_open)
        values = np.where(self.allowed[rest], self.values[rest], -np.inf)
        best = values.argmax(axis=1)
        reasons = []
        for user, event, value in zip(rest, best, values[np.arange(rest.size), best], strict=True):
            title = self.titles[event]
            if self.is_first_plan:
                reasons.append(
                    f"Not drawn: the first plan is randomised and takes {self.first_plan_users} users at most, within "
                    "the money and the places."
                )
            elif value <= 0:
                chances = (
                    f"{self.matrix.p_return[user, event]:.1%} return if invited, {self._alone(user, event):.1%} if not"
                )
                reasons.append(f"No event adds value: the best, {title}, would change {value:.2f} ({chances}).")
            else:
                price = plan.prices.capacities[event] + plan.prices.budget * self.costs[user, event]
                reasons.append(f"{title} would add {value:.2f}, but its place and money bring {price:.2f} elsewhere.")
        self.settle(self.is_open, "no_event", reasons)

    def finished(self, plan: MatchingPlan) -> Decisions:
        """The decisions as a frame."""
        chosen = self.event >= 0
        event = np.where(chosen, self.event, 0)
        rows = np.arange(self.users)

        def of_event(column: str) -> np.ndarray:
            known = self.matrix.events[column].astype(str).to_numpy(dtype=object)
            return np.array(
                [known[position] if has else None for position, has in zip(self.event, chosen, strict=True)]
            )

        def of_pair(pairs: np.ndarray) -> np.ndarray:
            return np.where(chosen, pairs[rows, event], np.nan) if pairs.shape[1] else np.full(self.users, np.nan)

        invited = self.decision == "target"
        cost = np.where(invited, np.nan_to_num(of_pair(self.costs)), 0.0)
        frame = pd.DataFrame(
            {
                "user_id": self.matrix.user_ids,
                "decision": self.decision,
                "arm": self.arm,
                "event_id": of_event("event_id"),
                "event_type": of_event("event_type"),
                "channel": pd.Series(self.population.channel, dtype=object).where(chosen, None),
                "reason": self.reason,
                "propensity": self.propensity,
                "selection_probability": self.selection_probability,
                "p_return": of_pair(self.matrix.p_return),
                "p_conversion": of_pair(np.broadcast_to(_by_event(self.matrix.p_conversion), self.values.shape)),
                "expected_incremental_value": of_pair(self.values),
                "cost": cost,
                "segment": self.population.segment,
            }
        )
        return Decisions(frame, plan, self.candidates, round(float(cost.sum()), MONEY_DIGITS), self._notes(plan))

    def _notes(self, plan: MatchingPlan) -> tuple[str, ...]:
        """What the limits cost, or what the first plan can show."""
        if not self.is_first_plan:
            return describe_prices(plan, self.titles.tolist())
        chosen = self.event >= 0
        invited, held = int((self.decision == "target").sum()), int((self.decision == "control").sum())
        start = "What the open events do is not known yet, so this plan is drawn at random"
        if min(invited, held) == 0:
            return (f"{start}, but there are too few users to compare.",)
        visible = smallest_visible_difference(self._baseline(np.flatnonzero(chosen)), held, invited)
        return (
            f"{start}: {invited} are invited and {held} held back, which shows a rise of {100 * visible:.1f} points or "
            "more in four cases of five.",
        )
