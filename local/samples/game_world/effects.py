"""What an event does to a player: the planted truth, used by the simulation and by the truth that is written."""

from dataclasses import dataclass

import numpy as np

from local.samples.game_world.parameters import (
    ACTIVITY,
    CONTACT,
    DAYS,
    EVENTS,
    MONEY,
    RETURN_WINDOW_DAYS,
    VARIANT_EFFECTS,
)
from local.samples.game_world.players import Players


@dataclass(frozen=True)
class Effects:
    """Shifts of two logits for reached players, before fatigue: of returning and of paying after the return."""

    on_return: np.ndarray
    on_conversion: np.ndarray


def event_effects(variant: str, event_type: str, players: Players, chosen: np.ndarray, has_paid: np.ndarray) -> Effects:
    """Compute what one event does to the `chosen` players of a server.

    Args:
        variant: one of VARIANTS.
        event_type: one of EVENT_TYPES.
        players: the server.
        chosen: indices of players, shape (n,).
        has_paid: bool (n,), whether the chosen ever paid.
    """
    kind, other = EVENTS[event_type], VARIANT_EFFECTS
    none = np.zeros(len(chosen))
    slopes = sum(
        (slope * players.trait(name)[chosen] for name, slope in kind.slopes.items()), start=np.zeros(len(chosen))
    )
    trait = players.trait(kind.threshold_trait)[chosen]
    if variant == "nothing":
        return Effects(none, none)
    if variant == "thresholds":
        feels = trait > other.threshold
        return Effects(np.where(feels, other.threshold_effect, other.below_threshold_effect), none)
    if variant == "annoyed":
        return Effects(np.where(has_paid, other.annoyed_effect, other.calm_effect + 0.5 * slopes), none)
    if variant == "payment":
        return Effects(none, other.payment_intercept + other.payment_slope * trait)
    friends = np.log1p(np.diff(players.friends.indptr)[chosen])
    conversion_slopes = sum(
        (slope * players.trait(name)[chosen] for name, slope in kind.conversion_slopes.items()),
        start=np.zeros(len(chosen)),
    )
    return Effects(
        kind.intercept + slopes + kind.friends_slope * friends, kind.conversion_intercept + conversion_slopes
    )


def fatigued(effect: np.ndarray, contacts: np.ndarray, variant: str) -> np.ndarray:
    """Take from a welcome effect what recent contacts take from it, and let an unwelcome one be.

    Where nothing moves returning, contacts do no harm either.
    """
    if variant in ("nothing", "payment"):
        return effect
    worn = np.where(effect > 0, np.exp(-CONTACT.fatigue * contacts), 1.0)
    return effect * worn - CONTACT.fatigue_penalty * contacts


def season() -> np.ndarray:
    """Return how lively each day is, float64 (DAYS + 90,): summers are quiet, Decembers and weekends are not."""
    days = np.arange(DAYS + 90)
    year = 1 + 0.12 * np.cos(2 * np.pi * (days - 175) / 365.25)
    weekend = np.where(days % 7 >= 5, 1.12, 0.952)
    return year * weekend


def lapse_table() -> np.ndarray:
    """Return how the chance to come back falls with the days since the last play, float32; 1 at 30 days."""
    days = np.maximum(np.arange(DAYS + 120), 1)
    return ((np.maximum(days, 7) / 30.0) ** ACTIVITY.return_power).astype(np.float32)


def window_hazard(
    base: np.ndarray, lapse_days: np.ndarray, day: int, seasons: np.ndarray, lapses: np.ndarray
) -> np.ndarray:
    """Add up the hazard of coming back unasked over the return window that begins on `day`.

    Args:
        base: hazard a day at 30 days since the last play, shape (n,).
        lapse_days: days since the last play on `day`, shape (n,).
        day: first day of the window.
        seasons: see `season`.
        lapses: see `lapse_table`.
    """
    total = np.zeros(len(base))
    for offset in range(RETURN_WINDOW_DAYS):
        total += lapses[lapse_days + offset] * seasons[day + offset]
    return base * total


def logit(probability: np.ndarray) -> np.ndarray:
    """Return the log odds."""
    return np.log(probability) - np.log1p(-probability)


def expit(value: np.ndarray) -> np.ndarray:
    """Return the probability that belongs to log odds."""
    return 1.0 / (1.0 + np.exp(-value))


def conversion_logit(players: Players, chosen: np.ndarray, deposits: np.ndarray) -> np.ndarray:
    """Return the logit of paying within 30 days of a return, before any event's effect."""
    base = MONEY.conversion + MONEY.conversion_spending * players.trait("spending")[chosen]
    return base + MONEY.conversion_payer * (deposits > 0)


def deposit_step(players: Players, chosen: np.ndarray) -> np.ndarray:
    """Return the chance of each of five steps to a larger deposit."""
    return expit(
        MONEY.size
        + MONEY.size_spending * players.trait("spending")[chosen]
        + MONEY.size_price_sensitivity * players.trait("price_sensitivity")[chosen]
    )


def further_deposits(players: Players, chosen: np.ndarray) -> np.ndarray:
    """Return the mean number of deposits beyond the first in the 30 days after a return."""
    mean = np.exp(MONEY.further_deposits + MONEY.further_deposits_spending * players.trait("spending")[chosen])
    return np.minimum(mean, MONEY.further_deposits_at_most)


def expected_revenue(players: Players, chosen: np.ndarray) -> np.ndarray:
    """Return the expected revenue of the 30 days after a return of those who pay at all, in USD."""
    step = deposit_step(players, chosen)
    steps = len(MONEY.prices_cents) - 1
    mean_cents = np.zeros(len(chosen))
    ways = 1.0
    for size, cents in enumerate(MONEY.prices_cents):
        mean_cents += cents * ways * step**size * (1 - step) ** (steps - size)
        ways = ways * (steps - size) / (size + 1)
    return (1 + further_deposits(players, chosen)) * mean_cents / 100.0
