"""Choices that ask no model: at random for evidence, and by the business's own rule for comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ml.experiments import BUCKETS, bucket, control_salt, uniforms, users_for_proportions
from ml.pipelines.rules import CHEAPEST

if TYPE_CHECKING:
    from ml.pipelines.decisions import Board

__all__ = ["FIRST_PLAN_RISE", "baseline", "draw_at_random", "draw_by_rule"]

# A first, randomised plan: the rise of the return rate it should show with 80 % power.
FIRST_PLAN_RISE = 0.05


class Purse:
    """What is left of the money and the places that a policy may give away."""

    def __init__(self, board: Board, share: float) -> None:
        self.board = board
        self.money = np.inf if board.rules.budget is None else board.rules.budget * share
        self.places = np.floor(board.capacities * share)
        self.event_money = board.event_budgets * share

    def fitting(self, user: int) -> np.ndarray:
        """Events that the user may have and that still have a place and money."""
        costs = self.board.costs[user]
        is_left = (self.places >= 1) & (costs <= self.money) & (costs <= self.event_money)
        return np.flatnonzero(self.board.allowed[user] & is_left)

    def pay(self, user: int, event: int) -> None:
        """Take a place and the money, but nothing for who is going to be held back: they take nothing from others."""
        board = self.board
        salt = control_salt(board.rules.seed, board.event_ids[event])
        # The same as `is_in_share`, without arrays: this runs once for every user who draws.
        if bucket(salt, board.matrix.user_ids[user]) < round(board.control_share * BUCKETS):
            return
        cost = self.board.costs[user, event]
        self.places[event] -= 1
        self.money -= cost
        self.event_money[event] -= cost


def draw_at_random(board: Board) -> None:
    """Give the users of the random policy one of their events each, within that policy's share of money and places.

    Users come in an order drawn by hash; each draws among the events that still have a place and fit into the money,
    all with the same chance, which is logged. Where no open event has evidence yet (cold start) the share is everything
    and as many users are drawn as the power calculator asks for.
    """
    users = np.flatnonzero(board.is_open & (board.policy == "random"))
    if users.size == 0:
        return
    board.first_plan_users = _users_of_first_plan(board, users) if board.is_first_plan else users.size
    ids = board.matrix.user_ids[users]
    order = np.argsort(uniforms(board.salt("order"), ids), kind="stable")
    draws = uniforms(board.salt("event"), ids)
    purse = Purse(board, 1.0 if board.is_first_plan else board.rules.exploration_share)
    why = "what the open events do is not known yet; drawn" if board.is_first_plan else "for evidence, drawn"
    drawn = 0
    for position in order:
        if drawn >= board.first_plan_users or not (purse.places >= 1).any():
            break
        user = int(users[position])
        fitting = purse.fitting(user)
        if fitting.size == 0:
            continue
        event = int(fitting[int(draws[position] * fitting.size)])
        reason = f"Random arm: {why} among {fitting.size} open events; it was {board.titles[event]}."
        board.give(user, event, "random", 1 / fitting.size, reason)
        purse.pay(user, event)
        drawn += 1


def draw_by_rule(board: Board) -> None:
    """Let the business's own rule choose among the users of its policy, within that policy's share of money and places.

    The first in the rule's order get the cheapest event that still fits, or the first that fits of the type the rule
    names. Ties, and users without the figure, follow in an order drawn by hash.
    """
    rules, score = board.rules, board.population.rule_score
    users = np.flatnonzero(board.is_open & (board.policy == "rule"))
    if users.size == 0:
        return
    scores = np.full(users.size, -np.inf) if score is None else np.nan_to_num(score[users], nan=-np.inf)
    order = np.lexsort((uniforms(board.salt("order"), board.matrix.user_ids[users]), -scores))
    purse = Purse(board, rules.rule_share)
    is_named = np.ones(len(board.event_ids), dtype=bool)
    if rules.rule_event != CHEAPEST:
        is_named = board.event_types == rules.rule_event
    most = int(np.ceil(rules.rule_top_share * users.size))
    for rank, position in enumerate(order[:most], start=1):
        user = int(users[position])
        fitting = purse.fitting(user)
        fitting = fitting[is_named[fitting]]
        if fitting.size == 0:
            continue
        event = int(fitting[board.costs[user, fitting].argmin()] if rules.rule_event == CHEAPEST else fitting[0])
        reason = f"Rule arm: number {rank} in the order of the business's own rule, invited to {board.titles[event]}."
        board.give(user, event, "rule", 1.0, reason)
        purse.pay(user, event)


def baseline(board: Board, users: np.ndarray) -> float:
    """Share of the users who are expected to return uninvited, away from 0 and 1."""
    return float(np.clip(np.mean(board.matrix.p_return_if_not_contacted[users]), 0.01, 0.9))


def _users_of_first_plan(board: Board, users: np.ndarray) -> int:
    """Users, invited and held back, that show a rise of `FIRST_PLAN_RISE` for each event type."""
    alone = baseline(board, users)
    each = users_for_proportions(alone, alone + FIRST_PLAN_RISE)
    return int(2 * np.ceil(each)) * int(board.matrix.events["event_type"].nunique())
