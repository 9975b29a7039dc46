"""Over which channel a user would be invited: one of those agreed to, the one that carries most."""

from collections.abc import Mapping
from datetime import date

import pandas as pd

from warehouse.door import Warehouse

__all__ = ["read_user_channels"]

# Best first. What was learned of how much of an effect arrives over a channel comes before the share of inactive users
# who returned after an exposure over it, which also depends on who consents to what. That share is drawn towards that
# of all channels while there are few. Ties go to the channel used most, then to the name.
_CHANNELS = """
    with known_examples as (
        select channel, cast(has_returned as integer) as returned
        from features.training_examples
        where arm = 'treated' and is_inactive and has_returned is not null
            and return_known_at <= cast(%(as_of_date)s as timestamp) at time zone 'UTC'
    ),
    channels_ranked as (
        select
            channel,
            (sum(returned) + 20.0 * (select avg(returned) from known_examples)) / (count(*) + 20.0) as return_rate,
            count(*) as examples_count
        from known_examples
        group by channel
    ),
    suppressed as (
        select user_id, channel from privacy.current_suppressions
    )
    select
        granted.user_id,
        granted.channel,
        exists (
            select 1 from suppressed
            where suppressed.user_id = granted.user_id and suppressed.channel in (granted.channel, 'all')
        ) as is_suppressed
    from features.eligible_user_channels as granted
    left join channels_ranked on channels_ranked.channel = granted.channel
    left join unnest(cast(%(channels)s as text[]), cast(%(factors)s as double precision[])) as learned (channel, factor)
        on learned.channel = granted.channel
    where granted.as_of_date = %(as_of_date)s
    order by
        granted.user_id collate "C",
        is_suppressed,
        coalesce(learned.factor, 1) desc,
        coalesce(channels_ranked.return_rate, 0) desc,
        coalesce(channels_ranked.examples_count, 0) desc,
        granted.channel collate "C"
"""


def read_user_channels(warehouse: Warehouse, as_of_date: date, factors: Mapping[str, float]) -> pd.DataFrame:
    """Read the channel of every user who agreed to one: index user_id, columns channel and is_suppressed.

    Among the channels with consent that are not suppressed, a user gets the one that carries most of an effect by
    `factors` (1 where a channel has none), then the one over which most users came back. Who agreed to channels that
    are all suppressed has channel "" and is_suppressed.
    """
    parameters = {"as_of_date": as_of_date, "channels": list(factors), "factors": list(factors.values())}
    channels = warehouse.read_frame(_CHANNELS, parameters).drop_duplicates("user_id").set_index("user_id")
    return channels.assign(channel=channels["channel"].mask(channels["is_suppressed"].astype(bool), ""))
