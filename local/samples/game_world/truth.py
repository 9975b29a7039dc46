"""What would happen to every inactive player with and without each open event: known here, and read by no product."""

import numpy as np
import pyarrow as pa

from local.samples.game_world.campaigns import Campaign
from local.samples.game_world.effects import (
    conversion_logit,
    event_effects,
    expected_revenue,
    expit,
    fatigued,
    logit,
    window_hazard,
)
from local.samples.game_world.parameters import CHANNELS, CONTACT, DAYS, INACTIVE_AFTER_DAYS, TRAITS
from local.samples.game_world.simulation import Server

TRUTH_SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("event_id", pa.string()),
        ("event_type", pa.string()),
        ("p_return_if_not_contacted", pa.float64()),
        ("p_return_if_reached", pa.float64()),
        ("p_conversion_if_not_contacted", pa.float64()),
        ("p_conversion_if_reached", pa.float64()),
        ("revenue", pa.float64()),
        ("reward_cost", pa.float64()),
        ("contact_cost", pa.float64()),
        ("best_channel", pa.string()),
        ("p_return", pa.float64()),
        ("p_conversion", pa.float64()),
        ("expected_value", pa.float64()),
    ]
)
PLAYER_SCHEMA = pa.schema(
    [("user_id", pa.string()), *((name, pa.float32()) for name in TRAITS), ("is_payer", pa.bool_())]
)


def open_campaigns(campaigns: tuple[Campaign, ...]) -> list[Campaign]:
    """List the events among which the decision chooses: begun before its date, and not over."""
    return [campaign for campaign in campaigns if campaign.start_day < DAYS < campaign.end_day]


def describe_truth(server: Server, user_ids: pa.Array) -> pa.Table:
    """Compute the truth for the inactive players of one server, in TRUTH_SCHEMA: a row a player and open event.

    `p_return`, `p_conversion` and `expected_value` hold for an invitation over `best_channel`, the channel with the
    highest reach of those agreed to; where none was, they are those of a player who is not contacted, and the value is
    0. A message that is not noticed changes nothing: over a channel with reach r, P(return) = r * p_return_if_reached
    + (1 - r) * p_return_if_not_contacted. The value is section 5's formula of the product's design.
    """
    lapse = DAYS - server.last_play
    chosen = np.flatnonzero(lapse > INACTIVE_AFTER_DAYS)
    base = server.return_base()[chosen].astype(np.float64)
    unasked = -np.expm1(-window_hazard(base, lapse[chosen], DAYS, server.seasons, server.lapses))
    pays = conversion_logit(server.players, chosen, server.deposits[chosen]).astype(np.float64)
    unasked_pays = expit(pays)
    revenue = expected_revenue(server.players, chosen).astype(np.float64)
    reaches = np.where(server.consents[:, chosen], np.array(CONTACT.reach)[:, None], 0.0)
    best, reach = reaches.argmax(axis=0), reaches.max(axis=0)
    contacts = server.faded_contacts(chosen, DAYS)
    names = pa.array(CHANNELS)
    channel = names.take(pa.array(best, mask=reach == 0))
    ids = user_ids.take(pa.array(chosen))
    parts = []
    for campaign in open_campaigns(server.campaigns):
        effects = event_effects(
            server.variant, campaign.event_type, server.players, chosen, server.deposits[chosen] > 0
        )
        asked = expit(logit(unasked) + fatigued(effects.on_return, contacts, server.variant))
        asked_pays = expit(pays + effects.on_conversion)
        p_return = reach * asked + (1 - reach) * unasked
        p_conversion = (reach * asked * asked_pays + (1 - reach) * unasked * unasked_pays) / p_return
        value = (
            p_return * (p_conversion * revenue - campaign.reward_cost)
            - unasked * unasked_pays * revenue
            - campaign.contact_cost
        )
        size = len(chosen)
        columns = [
            ids,
            pa.repeat(campaign.event_id, size),
            pa.repeat(campaign.event_type, size),
            *map(pa.array, (unasked, asked, unasked_pays, asked_pays, revenue)),
            pa.repeat(campaign.reward_cost, size),
            pa.repeat(campaign.contact_cost, size),
            channel,
            pa.array(p_return),
            pa.array(p_conversion),
            pa.array(np.where(reach > 0, value, 0.0)),
        ]
        parts.append(pa.table(columns, schema=TRUTH_SCHEMA))
    return pa.concat_tables(parts)


def describe_players(server: Server, user_ids: pa.Array) -> pa.Table:
    """Return the hidden traits of every player of a server, in PLAYER_SCHEMA."""
    traits = [pa.array(server.players.traits[:, index]) for index in range(len(TRAITS))]
    return pa.table([user_ids, *traits, pa.array(server.deposits > 0)], schema=PLAYER_SCHEMA)
