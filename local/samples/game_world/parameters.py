"""Every number the game world is made of, in one place; docs/game_world.md says where the ranges come from.

Hidden traits are standard normal. Their order in every array is `TRAITS`. Effects of events act on the logit of the
chance to return within 14 days (or to pay within 30 days of a return) of an inactive player who was reached.
"""

from dataclasses import dataclass, field
from datetime import date

TRAITS = ("attachment", "spending", "competitiveness", "sociability", "price_sensitivity", "curiosity")
EVENT_TYPES = ("tournament", "deposit_bonus", "free_items", "story", "friend_invitation", "collaboration")
CHANNELS = ("push", "email", "sms")
VARIANTS = ("slopes", "thresholds", "annoyed", "payment", "nothing")
SCHEDULES = ("commuter", "evening", "night", "weekend")

FIRST_DATE = date(2024, 7, 1)
#: Days simulated; the day after the last is the date of the decision.
DAYS = 549
AS_OF_DATE = date(2026, 1, 1)

#: As the product's words say: inactive after 30 days without activity, a return within 14, a conversion within 30.
INACTIVE_AFTER_DAYS = 30
RETURN_WINDOW_DAYS = 14
CONVERSION_WINDOW_DAYS = 30

#: Players live on servers of this size; friendships stay within one, and memory is bounded by it.
PLAYERS_PER_SERVER = 50_000


@dataclass(frozen=True)
class EventType:
    """What one type of event costs and does to a reached inactive player, by variant.

    Attributes:
        reward_cost: cost of one response, in USD.
        contact_cost: cost of one exposure, in USD.
        intercept: shift of the logit of returning, for average traits.
        slopes: further shift per unit of a trait.
        friends_slope: further shift per log(1 + number of friends).
        conversion_intercept: shift of the logit of paying after the return.
        conversion_slopes: further shift per unit of a trait.
        threshold_trait: in the variant "thresholds", the trait that must exceed `threshold` for any effect.
        capacity_share: places of one event as a share of all players; None for no limit.
    """

    reward_cost: float
    contact_cost: float
    intercept: float
    slopes: dict[str, float]
    threshold_trait: str
    friends_slope: float = 0.0
    conversion_intercept: float = 0.0
    conversion_slopes: dict[str, float] = field(default_factory=dict)
    capacity_share: float | None = None


EVENTS = {
    "tournament": EventType(
        reward_cost=0.10,
        contact_cost=0.010,
        intercept=0.10,
        slopes={"competitiveness": 0.80, "curiosity": -0.20},
        threshold_trait="competitiveness",
        capacity_share=0.06,
    ),
    "deposit_bonus": EventType(
        reward_cost=0.30,
        contact_cost=0.010,
        intercept=0.05,
        slopes={"spending": 0.35, "price_sensitivity": 0.45},
        threshold_trait="spending",
        conversion_intercept=0.30,
        conversion_slopes={"price_sensitivity": 0.30},
    ),
    "free_items": EventType(
        reward_cost=0.10,
        contact_cost=0.010,
        intercept=0.35,
        slopes={"price_sensitivity": 0.60, "spending": -0.35},
        threshold_trait="price_sensitivity",
    ),
    "story": EventType(
        reward_cost=0.05,
        contact_cost=0.010,
        intercept=0.05,
        slopes={"curiosity": 0.75, "competitiveness": -0.25},
        threshold_trait="curiosity",
    ),
    "friend_invitation": EventType(
        reward_cost=0.15,
        contact_cost=0.010,
        intercept=-0.25,
        slopes={"sociability": 0.55},
        friends_slope=0.30,
        threshold_trait="sociability",
    ),
    "collaboration": EventType(
        reward_cost=0.20,
        contact_cost=0.015,
        intercept=0.15,
        slopes={"curiosity": 0.35, "attachment": 0.45, "price_sensitivity": -0.25},
        threshold_trait="attachment",
        capacity_share=0.04,
    ),
}


@dataclass(frozen=True)
class Variants:
    """What the variants other than "slopes" put in the place of `EVENTS`' effects.

    Attributes:
        threshold: a player whose trait exceeds it feels the event (variant "thresholds").
        threshold_effect: the effect then.
        below_threshold_effect: the effect otherwise.
        annoyed_effect: effect of any contact on players who ever paid (variant "annoyed").
        calm_effect: effect of any contact on the others, beside half of the slopes.
        payment_intercept: shift of the logit of paying (variant "payment"; returning does not move).
        payment_slope: further shift per unit of the type's threshold trait.
    """

    threshold: float = 0.7
    threshold_effect: float = 1.5
    below_threshold_effect: float = -0.10
    annoyed_effect: float = -1.30
    calm_effect: float = 0.15
    payment_intercept: float = 0.25
    payment_slope: float = 0.60


@dataclass(frozen=True)
class Activity:
    """How players come, play, lapse and come back on their own.

    Attributes:
        play_hazard: hazard of playing on a day while in a phase of play.
        play_attachment: log of the hazard per unit of attachment.
        lapse_hazard: hazard of ending a phase of play on its first day.
        lapse_power: power of the phase's age by which that hazard falls.
        lapse_attachment: log of that hazard per unit of attachment.
        return_hazard: hazard a day of coming back on one's own, 30 days after the last play.
        return_power: power of the time since the last play by which it falls.
        return_attachment, return_sociability, return_payer: log of that hazard per unit, and for payers.
        friend_pull: log of the return hazard per friend active in the last seven days (five at most).
        longest_pause_days: a longer pause ends a phase of play.
        sessions_beyond_first: mean number of sessions beyond the first on a day of play.
        session_minutes: median length of a session.
        session_spread: standard deviation of the log of that length.
        interactions_per_day: mean number of recorded interactions on a day of play.
    """

    play_hazard: float = 1.05
    play_attachment: float = 0.35
    lapse_hazard: float = 0.80
    lapse_power: float = 0.80
    lapse_attachment: float = -0.45
    return_hazard: float = 0.0070
    return_power: float = -0.70
    return_attachment: float = 0.35
    return_sociability: float = 0.10
    return_payer: float = 0.45
    friend_pull: float = 0.10
    longest_pause_days: int = 14
    sessions_beyond_first: float = 1.5
    session_minutes: float = 5.5
    session_spread: float = 0.8
    interactions_per_day: float = 0.35


@dataclass(frozen=True)
class Money:
    """Who pays and how much. Deposits are of six sizes; a player's taste for the large ones grows with spending power.

    Attributes:
        prices_cents: the sizes of a deposit.
        conversion: logit of paying within 30 days of registering or returning.
        conversion_spending: shift per unit of spending power.
        conversion_payer: shift for who paid before.
        size: logit of stepping to the next larger size (each of five steps).
        size_spending, size_price_sensitivity: shifts per unit.
        further_deposits: log of the mean number of deposits beyond the first within the 30 days.
        further_deposits_spending: shift per unit, cut off at `further_deposits_at_most` in all.
        regular: chance of a deposit on a day of play after the first 30 days, as a share of the chance to convert.
    """

    prices_cents: tuple[int, ...] = (99, 499, 999, 1999, 4999, 9999)
    conversion: float = -4.3
    conversion_spending: float = 1.05
    conversion_payer: float = 2.2
    size: float = -1.55
    size_spending: float = 0.60
    size_price_sensitivity: float = -0.20
    further_deposits: float = -0.35
    further_deposits_spending: float = 0.60
    further_deposits_at_most: float = 5.0
    regular: float = 0.05


@dataclass(frozen=True)
class Contact:
    """Channels, consents, fatigue and how campaigns of the past chose their audience.

    Attributes:
        reach: chance that a message is noticed, by channel of `CHANNELS`.
        consent: share of players who agree to a channel when they register.
        refusal: share of the others whose no is recorded.
        withdrawal: chance that a noticed message ends the consent for its channel.
        annoyed_withdrawal: the same for payers in the variant "annoyed".
        fatigue: a welcome effect shrinks by exp(-fatigue * contacts), contacts fading over `fatigue_days`.
        fatigue_penalty: and loses this much logit a contact.
        audience_share: share of the inactive with consent that a randomised campaign takes; payers twice as likely.
        treated_share: chance of being treated in a randomised campaign, drawn for each campaign from these.
        targeted_share: share of the inactive with consent that a targeted campaign takes, the best scored first.
        in_app_share: share of the recently active who are invited in the game.
        days_between_campaigns: a campaign starts about so often.
        pause_days: nobody is assigned to two campaigns within so many days.
    """

    reach: tuple[float, ...] = (0.60, 0.45, 0.85)
    consent: tuple[float, ...] = (0.70, 0.55, 0.20)
    refusal: float = 0.5
    withdrawal: float = 0.006
    annoyed_withdrawal: float = 0.04
    fatigue: float = 0.15
    fatigue_days: float = 45.0
    fatigue_penalty: float = 0.03
    audience_share: float = 0.30
    treated_share: tuple[float, ...] = (0.5, 0.6, 0.7, 0.8)
    targeted_share: float = 0.15
    in_app_share: float = 0.5
    days_between_campaigns: int = 9
    pause_days: int = 14


@dataclass(frozen=True)
class Mess:
    """What goes wrong between the game and the warehouse, as shares of rows.

    Attributes:
        duplicates: sessions and payments delivered twice.
        late: sessions delivered behind all others.
        clock_errors: sessions of devices whose clock says 1970, or ten years ahead.
        negative_durations: sessions that end before they start, which break the contract.
        lost_day: day of the simulation on which no session was recorded.
    """

    duplicates: float = 0.002
    late: float = 0.005
    clock_errors: float = 0.0005
    negative_durations: float = 0.0003
    lost_day: int = 400


ACTIVITY = Activity()
MONEY = Money()
CONTACT = Contact()
MESS = Mess()
VARIANT_EFFECTS = Variants()
