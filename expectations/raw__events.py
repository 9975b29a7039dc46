"""What the landed events must be as a whole."""

from expectations.suite import WARNING, Border, Suite, no_rows


def suite(border: Border) -> Suite:
    """Expectations on `raw.events`, which may be absent."""
    day = border.day
    return Suite(
        batch_query="select event_id, starts_at, ends_at, reward_cost, contact_cost from raw.events",
        is_optional=True,
        expectations=[
            no_rows(
                f"select 1 from {{batch}} having count(*) filter (where ends_at > {day}) = 0",
                "no event is open at the as_of_date or after it: nobody can be invited",
                severity=WARNING,
            ),
            no_rows(
                "select 1 from {batch} having max(contact_cost) = 0 and max(reward_cost) = 0",
                "every event is free: the budget then limits nothing",
                severity=WARNING,
            ),
        ],
    )
