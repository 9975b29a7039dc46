"""What counts as a contact of a user before a date: those that landed, and those that published plans hold.

Both queries take `as_of_date` and `days`, the span of the cap.
"""

from typing import Final, LiteralString

__all__ = ["LANDED_CONTACTS", "PLANNED_CONTACTS"]

LANDED_CONTACTS: Final[LiteralString] = """
    select user_id, count(*) as contacts_count
    from marts.fct_exposures
    where arm = 'treated'
        and exposed_at < cast(%(as_of_date)s as timestamp) at time zone 'UTC'
        and exposed_at >= cast(%(as_of_date)s as timestamp) at time zone 'UTC' - make_interval(days => %(days)s)
    group by user_id
"""

# What published plans invite to and has not come back as a contact yet, once for each user and event.
PLANNED_CONTACTS: Final[LiteralString] = """
    select distinct invitations.user_id, invitations.event_id
    from experiments.invitations
    where invitations.as_of_date < %(as_of_date)s
        and invitations.as_of_date >= cast(%(as_of_date)s as date) - %(days)s
        and not exists (
            select from marts.fct_exposures as exposures
            where exposures.user_id = invitations.user_id and exposures.event_id = invitations.event_id
                and exposures.arm = 'treated'
                and exposures.exposed_at >= cast(invitations.as_of_date as timestamp) at time zone 'UTC'
                and exposures.exposed_at < cast(%(as_of_date)s as timestamp) at time zone 'UTC'
        )
"""
