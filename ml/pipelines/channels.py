"""Over which channel a user would be invited: one of those agreed to, the one that carries most."""

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import pandas as pd

from warehouse.door import Warehouse

__all__ = ["BEST_PLACE", "WHO_AGREED", "channels_at", "rank_channels", "read_user_channels"]

# Best first. What was learned of how much of an effect arrives over a channel comes before the share of inactive users
# who returned after an exposure over it, which also depends on who consents to what. That share is drawn towards that
# of all channels while there are few. Ties go to the channel used most, then to the name.
_RANKED = """
    with known_examples as (
        select channel, cast(has_returned as integer) as returned
        from features.training_examples
        where arm = 'treated' and is_inactive and has_returned is not null
            and return_known_at <= cast(%(as_of_date)s as timestamp) at time zone 'UTC'
    ),
    channels_used as (
        select
            channel,
            (sum(returned) + 20.0 * (select avg(returned) from known_examples)) / (count(*) + 20.0) as return_rate,
            count(*) as examples_count
        from known_examples
        group by channel
    )
    select granted.channel
    from (select distinct channel from features.eligible_user_channels where as_of_date = %(as_of_date)s) as granted
    left join channels_used on channels_used.channel = granted.channel
    left join unnest(cast(%(channels)s as text[]), cast(%(factors)s as double precision[])) as learned (channel, factor)
        on learned.channel = granted.channel
    order by
        coalesce(learned.factor, 1) desc,
        coalesce(channels_used.return_rate, 0) desc,
        coalesce(channels_used.examples_count, 0) desc,
        granted.channel collate "C"
"""
# The place of a user's best channel among `channels`, none where all are suppressed; a row a user who agreed to one.
BEST_PLACE = """
    select
        granted.user_id,
        min(array_position(cast(%(channels)s as text[]), granted.channel)) filter (where suppressed.user_id is null)
            as place
    from features.eligible_user_channels as granted
    left join privacy.current_suppressions as suppressed
        on suppressed.user_id = granted.user_id and suppressed.channel in (granted.channel, 'all')
    where granted.as_of_date = %(as_of_date)s
"""
# The same users where channels are not told apart: an index has them in order, so that nothing is joined or sorted.
WHO_AGREED = """
    select distinct granted.user_id from features.eligible_user_channels as granted
    where granted.as_of_date = %(as_of_date)s
"""


def rank_channels(warehouse: Warehouse, as_of_date: date, factors: Mapping[str, float]) -> tuple[str, ...]:
    """Return the channels that users agreed to, the one that carries most of an effect by `factors` first.

    A channel without a factor has 1; between equals decides over which most users came back.
    """
    parameters = {"as_of_date": as_of_date, "channels": list(factors), "factors": list(factors.values())}
    return tuple(warehouse.read_frame(_RANKED, parameters)["channel"])


def read_user_channels(warehouse: Warehouse, as_of_date: date, factors: Mapping[str, float]) -> pd.DataFrame:
    """Read the channel of every user who agreed to one: index user_id, columns channel and is_suppressed.

    Among the channels with consent that are not suppressed, a user gets the first of `rank_channels`. Who agreed to
    channels that are all suppressed has channel "" and is_suppressed.
    """
    ranked = rank_channels(warehouse, as_of_date, factors)
    places = warehouse.read_frame(
        f"{BEST_PLACE} group by granted.user_id", {"as_of_date": as_of_date, "channels": list(ranked)}
    ).set_index("user_id")["place"]
    channel = channels_at(ranked, places.to_numpy(dtype=float, na_value=0.0))
    return pd.DataFrame({"channel": channel, "is_suppressed": channel == ""}, index=places.index)


def channels_at(ranked: Sequence[str], place: np.ndarray) -> np.ndarray:
    """Return the channel at each place, counted from 1, "" for 0; object of shape (rows,)."""
    return np.array(["", *ranked], dtype=object)[place.astype(np.int64)]
