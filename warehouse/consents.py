"""The door to consent and suppression: acts are recorded, never changed; what follows is the ledger's work."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import uuid4

from warehouse.conflicts import retry_conflicts
from warehouse.door import Warehouse, WarehouseError

__all__ = ["record_consent", "suppress_user"]

ADD_ACT = """
    insert into privacy.consent_acts (source, consent_id, user_id, channel, purpose, is_granted, decided_at)
    select 'user', %(act_id)s || '/' || channel, %(user_id)s, channel, %(purpose)s, %(is_granted)s, %(decided_at)s
    from unnest(%(channels)s::text[]) as channel
    on conflict do nothing
"""

ADD_SUPPRESSION = """
    insert into privacy.suppressions (user_id, channel, reason, suppressed_at, is_suppressed)
    values (%s, %s, %s, %s, %s)
"""


def record_consent(
    warehouse: Warehouse,
    user_id: str,
    channels: Sequence[str],
    *,
    is_granted: bool,
    decided_at: datetime,
    purpose: str = "marketing",
    act_id: str = "",
) -> int:
    """Record what a user has just decided with Rekindle itself, for all `channels` at once; return the new acts.

    At the commit a withdrawal has taken the user out of the audience. A refusal recorded here is lifted only by a newer
    act recorded here: an import that says yes changes nothing.

    Args:
        warehouse: the warehouse of the ledger.
        user_id: who decided.
        channels: the channels the decision is about.
        is_granted: True for a grant, False for a withdrawal.
        decided_at: when, with a time zone.
        purpose: marketing or profiling.
        act_id: name of the act, so that recording it again changes nothing; without it every call is an act.

    Raises:
        WarehouseError: the moment has no time zone, or no channel is named.
    """
    if decided_at.tzinfo is None or not channels:
        raise WarehouseError("An act of consent needs at least one channel and a moment with a time zone.")
    act = {
        "act_id": act_id or str(uuid4()),
        "user_id": user_id,
        "channels": sorted(set(channels)),
        "purpose": purpose,
        "is_granted": is_granted,
        "decided_at": decided_at,
    }
    return retry_conflicts(lambda: warehouse.execute(ADD_ACT, act), "an act of consent")


def suppress_user(
    warehouse: Warehouse,
    user_id: str,
    *,
    reason: str,
    suppressed_at: datetime,
    channel: str = "all",
    is_suppressed: bool = True,
) -> None:
    """Put a user on the suppression list (or take them off it), and out of the audience at the commit.

    Args:
        warehouse: the warehouse of the list.
        user_id: who must not be contacted.
        reason: bounced, complained, asked ...
        suppressed_at: when, with a time zone.
        channel: the channel, or "all".
        is_suppressed: False takes the user off the list again.
    """
    if suppressed_at.tzinfo is None:
        raise WarehouseError("A suppression needs a moment with a time zone.")
    act = (user_id, channel, reason, suppressed_at, is_suppressed)
    retry_conflicts(lambda: warehouse.execute(ADD_SUPPRESSION, act), "a suppression")
