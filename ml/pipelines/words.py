"""Decisions in words: why this event, why nothing, what the limits cost, and what the plan will be able to show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ml.experiments import smallest_visible_difference
from ml.matching import MatchingPlan, describe_prices
from ml.pipelines.draws import baseline

if TYPE_CHECKING:
    from ml.pipelines.decisions import Board

__all__ = ["notes_on", "why_nothing", "why_this"]

MOST_CAMPAIGNS_TOLD = 5


def why_this(board: Board, user: int) -> str:
    """Why the matching gave a user this event and no other."""
    event = board.event[user]
    others = np.where(board.allowed[user], board.values[user], -np.inf)
    others[event] = -np.inf
    text = (
        f"{board.titles[event]} adds {board.values[user, event]:.2f}: {board.matrix.p_return[user, event]:.1%} return "
        f"if invited, {_alone(board, user, event):.1%} if not; expected cost {board.costs[user, event]:.2f}."
    )
    best = others.argmax()
    if others[best] > board.values[user, event]:
        return f"{text} {board.titles[best]} would add {others[best]:.2f}, but its limits serve others better."
    if np.isfinite(others[best]):
        return f"{text} Next best: {board.titles[best]} with {others[best]:.2f}."
    return f"{text} It is the only event open to this user."


def why_nothing(board: Board, users: np.ndarray, plan: MatchingPlan) -> list[str]:
    """Why each of some users (rows) gets nothing, although they might be invited."""
    values = np.where(board.allowed[users], board.values[users], -np.inf)
    best = values.argmax(axis=1)
    reasons = []
    for user, event, value in zip(users, best, values[np.arange(users.size), best], strict=True):
        if board.is_first_plan:
            reasons.append(
                f"Not drawn: the first plan is randomised and takes {board.first_plan_users} users at most, within "
                "the money and the places."
            )
        elif board.policy[user] == "random":
            reasons.append("Not drawn: the money and places that are given away at random are given away.")
        elif board.policy[user] == "rule":
            reasons.append(
                f"Not among the first {board.rules.rule_top_share:.0%} whom the business's own rule invites, or no "
                "event of its kind has a place and money left."
            )
        else:
            reasons.append(_why_not(board, user, event, float(value), plan))
    return reasons


def _why_not(board: Board, user: int, event: int, value: float, plan: MatchingPlan) -> str:
    """Why the models invite a user to nothing."""
    title = board.titles[event]
    if board.doubted is not None:
        return "The models' plan is too unsure to be taken, so effects count for nothing here: see the plan's notes."
    if value <= 0:
        chances = f"{board.matrix.p_return[user, event]:.1%} return if invited, {_alone(board, user, event):.1%} if not"
        return f"No event adds value: the best, {title}, would change {value:.2f} ({chances})."
    prices = plan.prices
    price = prices.capacities[event] + (prices.budget + prices.event_budgets[event]) * board.costs[user, event]
    if price >= value:
        return f"{title} would add {value:.2f}, but its place and money bring {price:.2f} elsewhere."
    return f"{title} would add {value:.2f}, but the limits on money, places or segments leave no room for it."


def notes_on(board: Board, plan: MatchingPlan) -> Iterator[str]:
    """What the limits cost, which are out of reach, and what the campaigns will be able to show."""
    for event, why in sorted(board.population.stopped.items()):
        yield f"Nobody is invited to {event} any more: {why}"
    if board.doubted is not None:
        gain, error = board.doubted
        yield (
            f"The best plan is expected to add {gain:.2f}, but its standard error is {error:.2f}: too little is known "
            "of those it would invite, so effects are taken for nothing. Users who are invited at random show more; "
            "raise exploration_share to know it sooner."
        )
    if not board.is_first_plan:
        yield from describe_prices(plan, board.titles.tolist(), segments=board.segments.tolist())
        yield from _shortfalls(board)
        yield from _powers(board)
        return
    chosen = board.event >= 0
    invited, held = int((board.decision == "target").sum()), int((board.decision == "control").sum())
    start = "What the open events do is not known yet, so this plan is drawn at random"
    if min(invited, held) == 0:
        yield f"{start}, but there are too few users to compare."
        return
    visible = smallest_visible_difference(baseline(board, np.flatnonzero(chosen)), held, invited)
    yield (
        f"{start}: {invited} are invited and {held} held back, which shows a rise of {100 * visible:.1f} points or "
        "more in four cases of five."
    )


def _shortfalls(board: Board) -> Iterator[str]:
    """Minimums that the plan could not reach, and settings that name no segment."""
    counts = np.bincount(board.event[board.event >= 0], minlength=len(board.event_ids))
    for event, title in enumerate(board.titles):
        limits = board.rules.events.get(board.event_types[event])
        if limits is not None and limits.minimum is not None and counts[event] < limits.minimum:
            yield (
                f"Out of reach: {title} gets {counts[event]} of at least {limits.minimum} users, because no more gain "
                "by it within the limits."
            )
    for name in sorted(set(board.rules.segment_shares) - set(board.segments)):
        yield f"No user is in the segment {name} that rekindle.toml names: its shares limit nothing."


def _powers(board: Board) -> Iterator[str]:
    """What each campaign of this plan alone can show, the largest first."""
    held = np.bincount(board.event[board.decision == "control"], minlength=len(board.event_ids))
    invited = np.bincount(board.event[board.decision == "target"], minlength=len(board.event_ids))
    for event in np.argsort(-invited, kind="stable")[:MOST_CAMPAIGNS_TOLD]:
        if min(held[event], invited[event]) == 0:
            continue
        alone = baseline(board, np.flatnonzero(board.event == event))
        visible = smallest_visible_difference(alone, int(held[event]), int(invited[event]))
        yield (
            f"{board.titles[event]}: {invited[event]} invited and {held[event]} held back on this date alone show a "
            f"rise of {100 * visible:.1f} points or more in four cases of five."
        )


def _alone(board: Board, user: int, event: int) -> float:
    """Chance that the user returns uninvited."""
    alone = board.matrix.p_return_if_not_contacted
    return float(alone[user] if alone.ndim == 1 else alone[user, event])
