"""Which campaigns ran, and whom each one invited: at random with a control group, or by a marketer's taste."""

from dataclasses import dataclass

import numpy as np

from local.samples.game_world.parameters import CONTACT, DAYS, EVENT_TYPES, EVENTS

#: The last campaign of the past is still open on the date of the decision: some players already had its invitation.
_LONG_CAMPAIGN_DAYS = 34
_CAMPAIGN_DAYS = 16
_FIRST_CAMPAIGN_DAY = 45


@dataclass(frozen=True)
class Campaign:
    """One event of the world.

    Attributes:
        event_id: its id in the source.
        event_type: one of EVENT_TYPES.
        title: what a person reads.
        start_day: day of its start; the day of all its exposures.
        end_day: first day on which it is over.
        treated_share: chance of being treated where the audience was drawn at random, None where it was targeted.
        is_open: whether it waits for the decision and has invited nobody.
    """

    event_id: str
    event_type: str
    title: str
    start_day: int
    end_day: int
    treated_share: float | None = None
    is_open: bool = False

    @property
    def reward_cost(self) -> float:
        """Cost of one response, in USD."""
        return EVENTS[self.event_type].reward_cost

    @property
    def contact_cost(self) -> float:
        """Cost of one exposure, in USD."""
        return EVENTS[self.event_type].contact_cost

    def capacity(self, players: int) -> int | None:
        """Return how many players can be invited in a world of so many; None for no limit, as in the past."""
        share = EVENTS[self.event_type].capacity_share
        return None if share is None or not self.is_open else max(1, int(share * players))


def plan_campaigns(*, random_state: np.random.Generator) -> tuple[Campaign, ...]:
    """Plan the campaigns of the past and one of every type that waits for the decision."""
    last_day = DAYS - CONTACT.pause_days - 2
    days = np.arange(last_day, _FIRST_CAMPAIGN_DAY, -CONTACT.days_between_campaigns)[::-1]
    rounds = -(-len(days) // len(EVENT_TYPES))
    types = np.concatenate([random_state.permutation(EVENT_TYPES) for _ in range(rounds)])[: len(days)]
    # Of each type every other campaign was a test; which half begins is left to chance.
    place, begins = np.arange(len(days)) // len(EVENT_TYPES), random_state.integers(0, 2, len(EVENT_TYPES))
    is_randomised = (place + begins[[EVENT_TYPES.index(str(kind)) for kind in types]]) % 2 == 0
    past = [
        Campaign(
            event_id=f"event-{number:03d}",
            event_type=str(kind),
            title=_title(str(kind), number),
            start_day=int(day),
            end_day=int(day) + (_LONG_CAMPAIGN_DAYS if day == last_day else _CAMPAIGN_DAYS),
            treated_share=float(random_state.choice(CONTACT.treated_share)) if randomised else None,
        )
        for number, (day, kind, randomised) in enumerate(zip(days, types, is_randomised, strict=True), start=1)
    ]
    upcoming = [
        Campaign(
            event_id=f"event-{number:03d}",
            event_type=kind,
            title=_title(kind, number),
            start_day=DAYS - 2,
            end_day=DAYS + 19,
            is_open=True,
        )
        for number, kind in enumerate(EVENT_TYPES, start=len(past) + 1)
    ]
    return (*past, *upcoming)


def _title(event_type: str, number: int) -> str:
    return f"{event_type.replace('_', ' ').capitalize()} {number}"


def draw_audience(
    inactive: np.ndarray, is_payer: np.ndarray, share: float, *, random_state: np.random.Generator
) -> np.ndarray:
    """Draw a share of the inactive players at random, payers twice as likely.

    Args:
        inactive: indices of those who may be contacted.
        is_payer: bool, as long as `inactive`.
        share: chance of a player who never paid.
    """
    return inactive[random_state.random(len(inactive)) < np.minimum(share * (1 + is_payer), 1.0)]


def choose_audience(
    inactive: np.ndarray,
    is_payer: np.ndarray,
    lapse_days: np.ndarray,
    attachment: np.ndarray,
    share: float,
    *,
    random_state: np.random.Generator,
) -> np.ndarray:
    """Choose the best by a marketer's score: payers, the recently lapsed and the loyal. All that return anyway, too.

    Args:
        inactive: indices of those who may be contacted.
        is_payer, lapse_days, attachment: what the score is made of, as long as `inactive`.
        share: share of them that is taken.
    """
    score = 1.0 * is_payer - 1.0 * np.log(lapse_days / 30.0) + 0.5 * attachment
    score = score + 0.7 * random_state.standard_normal(len(inactive))
    taken = round(share * len(inactive))
    return np.sort(inactive[np.argsort(-score, kind="stable")[:taken]])
