"""A plan in words: what each limit costs."""

from collections.abc import Sequence

import numpy as np

from ml.matching.problem import MatchingPlan


def describe_prices(
    plan: MatchingPlan, titles: Sequence[str], *, segments: Sequence[str] = (), most: int = 5
) -> tuple[str, ...]:
    """What one more unit of each limit that binds would add, the dearest first; the budget leads.

    Args:
        plan: a plan with its prices.
        titles: name of each event.
        segments: name of each segment, in the order of their codes.
        most: most sentences on events.
    """
    prices = plan.prices
    sentences = []
    if prices.budget > 0:
        sentences.append(f"One more unit of money in the budget would add {prices.budget:.2f}.")
    words = (
        (prices.capacities, "One more place in {title} is worth {price:.2f}."),
        (prices.event_budgets, "One more unit of money for {title} would add {price:.2f}."),
        (prices.event_minimums, "The minimum of {title} costs {price:.2f} for each user it forces in."),
    )
    on_events = [
        (price, text.format(title=title, price=price))
        for limit, text in words
        for price, title in _named(limit, titles)
    ]
    if len(segments) == plan.prices.segments.size:
        for price, name in zip(plan.prices.segments, segments, strict=True):
            if abs(price) >= 0.005:
                verb = "costs" if price > 0 else "is paid"
                on_events.append((abs(price), f"The shares of segments: a user of {name} {verb} {abs(price):.2f}."))
    on_events.sort(key=lambda each: -each[0])
    return (*sentences, *(text for _, text in on_events[:most]))


def _named(prices: np.ndarray, titles: Sequence[str]) -> list[tuple[float, str]]:
    """Prices that are worth a word, with the event's name."""
    return [(float(price), title) for price, title in zip(prices, titles, strict=True) if price >= 0.005]
