"""From a server's days to rows of the source contract, and what goes wrong on the way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from local.samples.game_world.campaigns import Campaign
from local.samples.game_world.parameters import ACTIVITY, CHANNELS, DAYS, FIRST_DATE, MESS, MONEY
from local.samples.game_world.players import ACQUISITION_CHANNELS, CLASSES, COUNTRIES
from local.samples.game_world.schemas import MONEY as DECIMAL
from local.samples.game_world.schemas import SCHEMAS, TIMESTAMP
from local.samples.game_world.simulation import Server

_DAY_SECONDS = 86_400
_MICROSECONDS = 1_000_000
_EPOCH_DAY = (FIRST_DATE - FIRST_DATE.fromisoformat("1970-01-01")).days
#: Messages leave in the first half hour of a day and nobody plays in it: a day's play is always after its messages.
_QUIET_SECONDS = 1_800
#: Hours of the day (mean, and one for the second half of the players' days) at which each schedule plays.
_PEAK_HOURS = np.array([[8.0, 18.0], [20.0, 21.0], [23.0, 1.5], [15.0, 20.0]])
_INTERACTIONS = ("view", "article_view", "video_view", "share", "search")
_ITEM_KINDS = ("offer", "story_chapter", "tournament_video", "collectible")
_ITEMS_PER_KIND = 15

#: Turns positions of players on the server into their ids.
_OfUsers = Callable[[np.ndarray], pa.DictionaryArray]


@dataclass(frozen=True)
class ServerTables:
    """A server's rows: `tables` as delivered in time, `late_sessions` as delivered behind everybody's."""

    tables: dict[str, pa.Table]
    late_sessions: pa.Table
    user_ids: pa.Array


@dataclass(frozen=True)
class _Days:
    """Days of play: `first[i]` is the first session of day `i`, `key[i]` what the day is found by."""

    key: np.ndarray
    first: np.ndarray
    session_started: np.ndarray
    session_player: np.ndarray
    session_minutes: np.ndarray


def _times(day: np.ndarray, second: np.ndarray) -> np.ndarray:
    return ((np.asarray(day, dtype=np.int64) + _EPOCH_DAY) * _DAY_SECONDS + second) * _MICROSECONDS


def _timestamps(microseconds: np.ndarray) -> pa.Array:
    return pa.array(microseconds, type=pa.int64()).cast(TIMESTAMP)


def _ids(prefix: str, first: int, count: int, width: int) -> pa.Array:
    numbers = pc.utf8_lpad(pa.array(np.arange(first, first + count)).cast(pa.string()), width, "0")
    return pc.binary_join_element_wise(prefix, numbers, "")


def _chosen(values: Sequence[str], index: np.ndarray) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(index, type=pa.int32()), pa.array(list(values)))


def _decimals(cents: np.ndarray) -> pa.Array:
    """Turn whole cents into exact money: a decimal's bytes are its whole number of cents, 128 bits wide."""
    words = np.zeros((len(cents), 2), dtype=np.int64)
    words[:, 0] = cents
    return pa.Array.from_buffers(DECIMAL, len(cents), [None, pa.py_buffer(words)])


def _table(name: str, columns: list[pa.Array]) -> pa.Table:
    schema = SCHEMAS[name]
    return pa.table(columns, names=schema.names)


def describe_events(campaigns: tuple[Campaign, ...], players: int) -> pa.Table:
    """List the world's events in the source contract."""
    start = np.array([campaign.start_day for campaign in campaigns])
    end = np.array([campaign.end_day for campaign in campaigns])
    return pa.table(
        [
            pa.array([campaign.event_id for campaign in campaigns]),
            pa.array([campaign.event_type for campaign in campaigns]),
            pa.array([campaign.title for campaign in campaigns]),
            _timestamps(_times(start, np.zeros(len(start), dtype=np.int64))),
            _timestamps(_times(end, np.zeros(len(end), dtype=np.int64))),
            pa.array([campaign.reward_cost for campaign in campaigns]).cast(pa.decimal128(12, 4)),
            pa.array([campaign.contact_cost for campaign in campaigns]).cast(pa.decimal128(12, 4)),
            pa.array([campaign.capacity(players) for campaign in campaigns], type=pa.int64()),
        ],
        schema=SCHEMAS["events"],
    )


def describe_items() -> pa.Table:
    """List what can be looked at in the game."""
    kinds = [kind for kind in _ITEM_KINDS for _ in range(_ITEMS_PER_KIND)]
    titles = [
        f"{kind.replace('_', ' ').capitalize()} {index % _ITEMS_PER_KIND + 1}" for index, kind in enumerate(kinds)
    ]
    ids = [f"item-{index:03d}" for index in range(len(kinds))]
    return pa.table([pa.array(ids), pa.array(kinds), pa.array(titles), pa.array(kinds)], schema=SCHEMAS["items"])


def describe_server(server: Server, campaigns: tuple[Campaign, ...]) -> ServerTables:
    """Turn what happened on one server into rows of the source contract."""
    players, draw = server.players, server.random_state
    user_ids = _ids("player-", players.first_number, players.count, 8)
    prefix = f"{players.first_number:08d}-"
    days = _draw_sessions(server, draw)

    def of_users(player: np.ndarray) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(pa.array(player, type=pa.int32()), user_ids)

    def started(player: np.ndarray, day: np.ndarray) -> np.ndarray:
        return days.session_started[_session_of(days, player, day, players.count)]

    registered = started(np.arange(players.count), players.registered_day.astype(np.int64)) - 30 * _MICROSECONDS
    sessions, late = _session_table(server, days, of_users, prefix, draw)
    player, day, size = server.records.collected("deposit", 3)
    known = day < DAYS
    player, day, size = player[known], day[known], size[known]
    paid = started(player, day) + draw.integers(20, 600, len(player)) * _MICROSECONDS
    payments = _table(
        "payments",
        [
            _ids(f"payment-{prefix}", 0, len(player), 0),
            of_users(player),
            _timestamps(paid),
            _decimals(np.array(MONEY.prices_cents)[size]),
            pa.repeat("USD", len(player)),
            pa.repeat("deposit", len(player)),
        ],
    )
    player, day, campaign = server.records.collected("response", 3)
    responses = _table(
        "responses",
        [
            _ids(f"response-{prefix}", 0, len(player), 0),
            _chosen([each.event_id for each in campaigns], campaign),
            of_users(player),
            _timestamps(started(player, day) + 60 * _MICROSECONDS),
        ],
    )
    tables = {
        "users": _user_table(server, user_ids, registered),
        "sessions": sessions,
        "payments": _with_duplicates(payments, draw),
        "exposures": _exposure_table(server, campaigns, of_users, prefix),
        "responses": responses,
        "consents": _consent_table(server, of_users, registered, prefix),
        "friendships": _friendship_table(server, of_users),
        "interactions": _interaction_table(server, days, of_users, prefix, draw),
    }
    return ServerTables(tables=tables, late_sessions=late, user_ids=user_ids)


def _session_of(days: _Days, player: np.ndarray, day: np.ndarray, count: int) -> np.ndarray:
    """Find the position of the first session of each (player, day)."""
    return days.first[np.searchsorted(days.key, np.asarray(day, dtype=np.int64) * count + player)]


def _draw_sessions(server: Server, draw: np.random.Generator) -> _Days:
    players = server.players
    player, day = server.records.collected("play", 2)
    liveliness = np.exp(0.3 * players.trait("attachment") + 0.2 * players.trait("competitiveness") - 0.06)
    sessions = 1 + draw.poisson(ACTIVITY.sessions_beyond_first * liveliness[player])
    first = np.concatenate([[0], np.cumsum(sessions)[:-1]])
    of_session = np.repeat(np.arange(len(player), dtype=np.int32), sessions)
    session_player = player[of_session]
    peak = _PEAK_HOURS[players.schedule[session_player], draw.integers(0, 2, len(of_session), dtype=np.int8)]
    hour = (peak + 2.5 * draw.standard_normal(len(of_session), dtype=np.float32)) % 24
    second = _QUIET_SECONDS + (hour * ((_DAY_SECONDS - _QUIET_SECONDS) / 24)).astype(np.int64)
    length = np.log(ACTIVITY.session_minutes) + 0.25 * players.trait("competitiveness")[session_player]
    minutes = np.exp(
        length + ACTIVITY.session_spread * draw.standard_normal(len(of_session), dtype=np.float32), dtype=np.float32
    )
    started = _times(day[of_session], second)
    # The first session of a day is the earliest one, as what happens on the day refers to it.
    earliest = np.minimum.reduceat(started, first) if len(first) else started
    place = np.flatnonzero(started == np.repeat(earliest, sessions))
    place = place[np.unique(of_session[place], return_index=True)[1]]
    started[place], started[first] = started[first].copy(), earliest
    return _Days(
        key=np.asarray(day, dtype=np.int64) * players.count + player,
        first=first,
        session_started=started,
        session_player=session_player,
        session_minutes=minutes,
    )


def _session_table(
    server: Server, days: _Days, of_users: _OfUsers, prefix: str, draw: np.random.Generator
) -> tuple[pa.Table, pa.Table]:
    """Return the sessions as delivered, and those that come late."""
    players = server.players
    size = len(days.session_started)
    started = days.session_started.copy()
    duration = np.maximum(days.session_minutes * 60, 5).astype(np.int32)
    wrong = np.flatnonzero(draw.random(size, dtype=np.float32) < MESS.clock_errors)
    started[wrong] = np.where(
        draw.random(len(wrong)) < 0.5,
        started[wrong] % (_DAY_SECONDS * _MICROSECONDS),
        started[wrong] + 3_653 * _DAY_SECONDS * _MICROSECONDS,
    )
    duration[draw.random(size, dtype=np.float32) < MESS.negative_durations] *= -1
    is_tablet = (np.arange(players.count) % 7 == 0)[days.session_player]
    table = _table(
        "sessions",
        [
            _ids(f"session-{prefix}", 0, size, 0),
            of_users(days.session_player),
            _timestamps(started),
            pa.array(duration),
            _chosen(["mobile", "tablet"], is_tablet),
            _chosen(["Android", "iOS"], players.is_apple[days.session_player]),
            _chosen([country[0] for country in COUNTRIES], players.country[days.session_player]),
        ],
    )
    lost_from = _times(np.array(MESS.lost_day), np.array(0))
    is_lost = (days.session_started >= lost_from) & (days.session_started < lost_from + _DAY_SECONDS * _MICROSECONDS)
    is_late = draw.random(size, dtype=np.float32) < MESS.late
    late = table.filter(pa.array(is_late & ~is_lost))
    return _with_duplicates(table.filter(pa.array(~is_late & ~is_lost)), draw), late


def _with_duplicates(table: pa.Table, draw: np.random.Generator) -> pa.Table:
    """Deliver some rows a second time, behind the others."""
    twice = np.flatnonzero(draw.random(table.num_rows, dtype=np.float32) < MESS.duplicates)
    return pa.concat_tables([table, table.take(pa.array(twice))])


def _user_table(server: Server, user_ids: pa.Array, registered: np.ndarray) -> pa.Table:
    players = server.players
    year = players.birth_year.astype(np.int32)
    attributes = [f'{{"class": "{name}"}}' for name in CLASSES]
    return _table(
        "users",
        [
            user_ids,
            _timestamps(registered),
            *(_chosen([country[part] for country in COUNTRIES], players.country) for part in range(3)),
            pa.array(year, mask=year == 0),
            _chosen(ACQUISITION_CHANNELS, players.acquisition_channel),
            _chosen(attributes, players.class_),
        ],
    )


def _exposure_table(server: Server, campaigns: tuple[Campaign, ...], of_users: _OfUsers, prefix: str) -> pa.Table:
    player, day, campaign, channel, is_treated = server.records.collected("exposure", 5)
    share = np.array([np.nan if each.treated_share is None else each.treated_share for each in campaigns])[campaign]
    share[channel >= len(CHANNELS)] = np.nan
    return _table(
        "exposures",
        [
            _ids(f"exposure-{prefix}", 0, len(player), 0),
            _chosen([each.event_id for each in campaigns], campaign),
            of_users(player),
            _timestamps(_times(day, 300 + player % 1_200)),
            _chosen([*CHANNELS, "in_app"], channel),
            _chosen(["control", "treated"], is_treated),
            pa.array(share, mask=np.isnan(share)),
        ],
    )


def _consent_table(server: Server, of_users: _OfUsers, registered: np.ndarray, prefix: str) -> pa.Table:
    """List what was agreed to or refused when registering, and what was withdrawn after a message."""
    players = server.players
    channel, player = np.nonzero(players.consents | players.refusals)
    left, day, left_channel = server.records.collected("withdrawal", 3)
    granted = np.concatenate([players.consents[channel, player], np.zeros(len(left), dtype=bool)])
    decided = np.concatenate([registered[player] + 20 * _MICROSECONDS, _times(day, _DAY_SECONDS // 2 + left % 3_600)])
    player, channel = np.concatenate([player, left]), np.concatenate([channel, left_channel])
    return _table(
        "consents",
        [
            _ids(f"consent-{prefix}", 0, len(player), 0),
            of_users(player),
            _chosen(CHANNELS, channel),
            pa.repeat("marketing", len(player)),
            pa.array(granted),
            _timestamps(decided),
        ],
    )


def _friendship_table(server: Server, of_users: _OfUsers) -> pa.Table:
    players = server.players
    known = players.friend_since_day < DAYS
    pairs, since = players.friend_pairs[known], players.friend_since_day[known]
    both = np.concatenate([pairs, pairs[:, ::-1]])
    moment = _times(np.concatenate([since, since]), np.full(len(both), _DAY_SECONDS // 2))
    return _table("friendships", [of_users(both[:, 0]), of_users(both[:, 1]), _timestamps(moment)])


def _interaction_table(
    server: Server, days: _Days, of_users: _OfUsers, prefix: str, draw: np.random.Generator
) -> pa.Table:
    """Draw what players look at: the curious read, the competitive watch, the sociable share, spenders shop."""
    players = server.players
    interest = np.stack(
        [
            0.35 * np.exp(0.6 * players.trait("spending") + 0.4 * players.trait("price_sensitivity")),
            0.25 * np.exp(0.8 * players.trait("curiosity")),
            0.20 * np.exp(0.6 * players.trait("competitiveness")),
            0.10 * np.exp(0.9 * players.trait("sociability")),
            np.full(players.count, 0.10, dtype=np.float32),
        ]
    )
    day_player = days.session_player[days.first]
    parts = []
    for interest_in_kind in interest:
        count = draw.poisson(ACTIVITY.interactions_per_day * 0.8 * interest_in_kind[day_player])
        parts.append(np.repeat(np.arange(len(day_player)), count))
    of_day = np.concatenate(parts)
    kind = np.repeat(np.arange(len(_INTERACTIONS)), [len(part) for part in parts])
    session = days.first[of_day]
    items = kind * _ITEMS_PER_KIND + draw.integers(0, _ITEMS_PER_KIND, len(kind))
    is_search = kind == _INTERACTIONS.index("search")
    item_ids = [f"item-{index:03d}" for index in range(len(_ITEM_KINDS) * _ITEMS_PER_KIND)]
    item = pa.DictionaryArray.from_arrays(
        pa.array(np.minimum(items, len(item_ids) - 1), type=pa.int32(), mask=is_search), pa.array(item_ids)
    )
    return _table(
        "interactions",
        [
            _ids(f"interaction-{prefix}", 0, len(kind), 0),
            of_users(day_player[of_day]),
            _ids(f"session-{prefix}", 0, len(days.session_started), 0).take(pa.array(session)),
            _timestamps(days.session_started[session] + draw.integers(1, 240, len(kind)) * _MICROSECONDS),
            _chosen(_INTERACTIONS, kind),
            item,
        ],
    )
