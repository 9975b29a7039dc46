"""One decision for every inactive user, from figures alone: who may be invited, who is chosen how, who is held back.

The order in which a user meets the rules is the order of the functions here: no open event, holdout, suppressed, then
the policy the user belongs to - chosen by the models, by chance, or by the business's own rule - and last the controls
of every event, who were chosen like the others and are left out on purpose. Every draw is a hash of a published salt
and the user's id, so that it can be repeated, and explained, years later.
"""

import numpy as np
import pandas as pd

from ml.contracts import ResponseMatrix
from ml.experiments import assign, control_salt, is_in_share
from ml.matching import MatchingPlan, MatchingProblem, solve_matching
from ml.pipelines.draws import draw_at_random, draw_by_rule
from ml.pipelines.rules import (
    MONEY_DIGITS,
    DecisionError,
    DecisionRules,
    Decisions,
    PlanError,
    Population,
    expected_costs,
)
from ml.pipelines.words import notes_on, why_nothing, why_this

__all__ = ["Board", "DecisionError", "DecisionRules", "Decisions", "Population", "decide", "expected_costs"]

# A first, randomised plan holds back the share at which a given number of users shows most.
FIRST_PLAN_CONTROL_SHARE = 0.5
# The models' choice is taken if it is expected to add at least so many of its standard errors: five in six such plans
# gain. On worlds whose truth is known this parts those that gain from those that lose: docs/methods/response.md.
ERRORS_A_PLAN_MUST_GAIN = 1.0


def decide(
    matrix: ResponseMatrix,
    values: np.ndarray,
    population: Population,
    rules: DecisionRules,
    error_of: PlanError | None = None,
) -> Decisions:
    """Give every user of the matrix one decision.

    `values` is the expected incremental value of each pair, shape (users, events). Places and expected money are never
    exceeded. Nothing in the choice looks at who is going to be a control, so that controls differ from those invited by
    chance alone; what matched controls would have cost is not spent. `error_of` tells the standard error of what the
    models' choice adds: where it is larger than that, effects are taken for nothing. Without it no choice is doubted.
    """
    board = Board(matrix, values, population, rules, error_of)
    if matrix.events.empty:
        board.settle(board.is_open, "no_event", [f"No event is open on {matrix.as_of_date}."] * board.users)
        return board.finished(solve_matching(MatchingProblem(board.values)))
    board.hold_out()
    board.suppress()
    board.candidates = int((board.is_open & ((board.values > 0) & board.allowed).any(axis=1)).sum())
    draw_at_random(board)
    draw_by_rule(board)
    plan = board.match()
    board.hold_back_controls()
    board.explain_the_rest(plan)
    return board.finished(plan)


class Board:
    """The decisions in the making: what is still open, and what has been settled and why."""

    def __init__(
        self,
        matrix: ResponseMatrix,
        values: np.ndarray,
        population: Population,
        rules: DecisionRules,
        error_of: PlanError | None = None,
    ) -> None:
        needed = {"event_id", "event_type", "title", "reward_cost", "contact_cost", "capacity_left", "evidence"}
        missing = needed - set(matrix.events.columns)
        if missing:
            raise DecisionError(f"The open events lack {', '.join(sorted(missing))}: build the features again.")
        self.matrix, self.population, self.rules = matrix, population, rules
        self.users = len(matrix.user_ids)
        self.values = np.round(np.asarray(values, dtype=np.float64), MONEY_DIGITS)
        self.costs = expected_costs(matrix)
        self.event_ids = matrix.events["event_id"].astype(str).tolist()
        self.titles = matrix.events["title"].astype(str).to_numpy(dtype=object)
        self.event_types = matrix.events["event_type"].astype(str).to_numpy(dtype=object)
        self.capacities = matrix.events["capacity_left"].to_numpy(dtype=np.float64, na_value=np.inf)
        self.event_budgets = self._limits_of_events("budget", np.inf)
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
        self.policies = rules.policies(matrix.as_of_date, is_first_plan=self.is_first_plan)
        self.policy = assign(self.policies, matrix.user_ids)
        self.is_stopped = np.array([event in population.stopped for event in self.event_ids], dtype=bool)
        self.allowed = self._allowed_pairs()
        self.first_plan_users = 0
        self.error_of = error_of
        # What the models' choice would add and the standard error of that, where it was not taken because of it.
        self.doubted: tuple[float, float] | None = None

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

    def is_held(self, users: np.ndarray, events: np.ndarray) -> np.ndarray:
        """Whether each of some users (rows) is a control of the event (column) beside it."""
        held = np.zeros(users.size, dtype=bool)
        for event in np.unique(events):
            of_event = events == event
            salt = control_salt(self.rules.seed, self.event_ids[event])
            held[of_event] = is_in_share(salt, self.control_share, self.matrix.user_ids[users[of_event]])
        return held

    def give(self, user: int, event: int, arm: str, chance: float, reason: str) -> None:
        """Choose an event for a user."""
        self.event[user], self.arm[user], self.reason[user] = event, arm, reason
        self.selection_probability[user] = chance

    def _limits_of_events(self, name: str, absent: float) -> np.ndarray:
        """A limit of the settings for each open event."""
        limits = [getattr(self.rules.events.get(kind), name, None) for kind in self.event_types]
        return np.array([absent if limit is None else float(limit) for limit in limits])

    def _allowed_pairs(self) -> np.ndarray:
        """Who may be invited to what, shape (users, events)."""
        population = self.population
        allowed = (population.channel != "")[:, None] & ~population.already_exposed & ~self.is_stopped
        if population.is_barred is not None:
            allowed &= ~population.is_barred
        if population.planned_contacts is not None and population.is_planned is not None:
            # An invitation that a published plan already holds is the same contact, not one more.
            contacts = (population.recent_contacts + population.planned_contacts)[:, None] - population.is_planned
            allowed &= contacts < self.rules.contacts_per_user
        if population.earlier_policy is not None and population.was_held_back is not None:
            # One arm a user and event: who was chosen otherwise by an earlier plan is out of this event's campaign.
            users, events = np.nonzero(population.earlier_policy != "")
            moved = population.earlier_policy[users, events] != self.policy[users]
            moved |= population.was_held_back[users, events] != self.is_held(users, events)
            allowed[users[moved], events[moved]] = False
        return np.asarray(allowed)

    def hold_out(self) -> None:
        """Settle the users who are never contacted, so that the whole programme can be measured."""
        rules, as_of_date = self.rules, self.matrix.as_of_date
        held = is_in_share(rules.holdout_salt(as_of_date), rules.holdout_share, self.matrix.user_ids)
        self.arm[held] = "holdout"
        reason = f"In the permanent holdout: {rules.holdout_share:.1%} of all users are never contacted."
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
        number = self.matrix.events.shape[0]
        done = self.is_open & self.population.already_exposed.all(axis=1)
        self.settle(done, "suppressed", [f"Already exposed to every open event ({number})."] * int(done.sum()))
        closed = np.flatnonzero(self.is_open & ~self.allowed.any(axis=1))
        mask = np.zeros(self.users, dtype=bool)
        mask[closed] = True
        self.settle(mask, "suppressed", [self._why_no_event(int(user)) for user in closed])

    def _why_no_event(self, user: int) -> str:
        """Why no open event is for this user: each event is counted by the first cause that holds."""
        population, left = self.population, np.ones(len(self.event_ids), dtype=bool)
        causes = [("were stopped for harm", self.is_stopped), ("had the user before", population.already_exposed[user])]
        if population.is_barred is not None:
            causes.append(("are for other countries or ages", population.is_barred[user]))
        words = []
        for word, holds in causes:
            if (left & holds).any():
                words.append(f"{int((left & holds).sum())} {word}")
            left &= ~holds
        if left.any():
            words.append(f"{int(left.sum())} are closed by plans published before (cap, or another arm)")
        return f"None of the {len(self.event_ids)} open events is for this user: {', '.join(words)}."

    def match(self) -> MatchingPlan:
        """Choose for those whom the models decide on what adds most value within the money and places left.

        A choice that adds less than its standard error is not taken: the largest values are those least is known of.
        """
        plan = self._best()
        chosen = np.flatnonzero(plan.event >= 0)
        if self.error_of is not None and chosen.size:
            events = plan.event[chosen]
            gain = float(self.values[chosen, events].sum())
            error = self.error_of(chosen, events, self.population.channel[chosen])
            if gain < ERRORS_A_PLAN_MUST_GAIN * error:
                self.doubted = gain, error
                self.values = -self.costs
                plan = self._best()
                chosen = np.flatnonzero(plan.event >= 0)
        self.event[chosen] = plan.event[chosen]
        self.arm[chosen] = "targeted"
        self.selection_probability[chosen] = 1.0
        self.reason[chosen] = [why_this(self, int(user)) for user in chosen]
        return plan

    def _best(self) -> MatchingPlan:
        """The choice with the largest value for users who are still open and whom the models decide on."""
        drawn = np.flatnonzero(self.event >= 0)
        drawn = drawn[~self.is_held(drawn, self.event[drawn])]
        costs, events = self.costs[drawn, self.event[drawn]], len(self.event_ids)
        taken = np.bincount(self.event[drawn], minlength=events)
        spent = np.bincount(self.event[drawn], weights=costs, minlength=events)
        minimums = np.maximum(self._limits_of_events("minimum", 0.0) - taken, 0)
        return solve_matching(
            MatchingProblem(
                self.values,
                costs=self.costs,
                allowed=self.allowed & (self.is_open & (self.policy == "targeted"))[:, None],
                budget=None if self.rules.budget is None else max(0.0, self.rules.budget - float(costs.sum())),
                capacities=self.capacities - taken,
                event_budgets=np.maximum(self.event_budgets - spent, 0.0),
                event_minimums=minimums,
                **self._segment_shares(),
            )
        )

    @property
    def segments(self) -> np.ndarray:
        """Names of the segments, in the order of their codes in the matching."""
        return np.unique(self.population.segment.astype(str))

    def _segment_shares(self) -> dict[str, np.ndarray]:
        """Least and largest shares of the segments, as the matching takes them; nothing where there are none."""
        names = self.segments.tolist()
        limits = [self.rules.segment_shares.get(name, (None, None)) for name in names]
        if not any(limit != (None, None) for limit in limits):
            return {}
        return {
            "segments": np.searchsorted(self.segments, self.population.segment.astype(str)),
            "segment_minimum_shares": np.array([least or 0.0 for least, _ in limits]),
            "segment_maximum_shares": np.array([1.0 if most is None else most for _, most in limits]),
        }

    def hold_back_controls(self) -> None:
        """Settle the chosen of every arm: an event's controls are left out on purpose, the others are targets."""
        chosen = np.flatnonzero(self.event >= 0)
        is_held = self.is_held(chosen, self.event[chosen])
        self.propensity[chosen] = 1 - self.control_share
        self.decision[chosen] = np.where(is_held, "control", "target")
        share = f"Control: chosen, then held back at random ({self.control_share:.1%} of the chosen). "
        for user, held in zip(chosen, is_held, strict=True):
            reason = self.reason[user]
            self.reason[user] = share + reason if held else f"{reason} Over {self.population.channel[user]}."

    def explain_the_rest(self, plan: MatchingPlan) -> None:
        """Settle those for whom no event is worth inviting, or whose place and money went further elsewhere."""
        self.settle(self.is_open, "no_event", why_nothing(self, np.flatnonzero(self.is_open), plan))

    def finished(self, plan: MatchingPlan) -> Decisions:
        """The decisions and assignments as frames."""
        chosen = self.event >= 0
        event = np.where(chosen, self.event, 0)
        rows = np.arange(self.users)

        def of_event(column: str) -> np.ndarray:
            known = np.array([*self.matrix.events[column].astype(str), None], dtype=object)
            return np.asarray(known[self.event])

        def of_pair(pairs: np.ndarray) -> np.ndarray:
            pairs = pairs[:, None] if pairs.ndim == 1 else pairs
            pairs = np.broadcast_to(pairs, self.values.shape)
            # In float64: written with fewer digits a chance would differ from the one beside it that it equals.
            given = pairs[rows, event].astype(np.float64) if pairs.shape[1] else np.nan
            return np.where(chosen, given, np.nan)

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
                "p_conversion": of_pair(self.matrix.p_conversion),
                "expected_incremental_value": of_pair(self.values),
                "cost": cost,
                "segment": self.population.segment,
            }
        )
        total = round(float(cost.sum()), MONEY_DIGITS)
        notes = tuple(notes_on(self, plan))
        return Decisions(frame, self._assignments(frame), plan, self.candidates, total, notes)

    def _assignments(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Who is in which arm of which campaign, under which salt; users of no campaign keep their policy."""
        is_eligible = frame["decision"].isin(["target", "control", "no_event"]).to_numpy() & (self.policy != "")
        is_eligible &= not self.matrix.events.empty
        arm = np.where(self.decision == "target", self.arm, "outside")
        arm[self.decision == "control"] = "none"
        arm[self.decision == "holdout"] = "holdout"
        salts = np.array([*(control_salt(self.rules.seed, event) for event in self.event_ids), None], dtype=object)
        salt = salts[self.event]
        salt[is_eligible & (self.event < 0)] = self.policies.salt
        salt[self.decision == "holdout"] = self.rules.holdout_salt(self.matrix.as_of_date)
        return pd.DataFrame(
            {
                "user_id": self.matrix.user_ids,
                "policy": pd.Series(self.policy, dtype=object).where(is_eligible, None),
                "arm": arm,
                "event_id": frame["event_id"],
                "event_type": frame["event_type"],
                "segment": self.population.segment,
                "salt": salt,
                "propensity": np.where(self.event >= 0, 1 - self.control_share, np.nan),
                "selection_probability": self.selection_probability,
                "cost": frame["cost"],
                "period": self.rules.period(self.matrix.as_of_date),
                "holdout_share": 0.0 if self.matrix.events.empty else self.rules.holdout_share,
            }
        )
