"""What the decisions must be before anybody is invited."""

from expectations.suite import WARNING, Border, Suite, covers_inactive_users, no_rows


def suite(border: Border) -> Suite:
    """Expectations on the rows of one date in `predictions.decisions`."""
    day = border.day
    budget = border.settings.budget
    within_budget = (
        []
        if budget is None
        else [
            no_rows(
                f"select sum(cost) from {{batch}} where decision = 'target' having sum(cost) > {budget}",
                f"the plan costs more than the budget of {budget}",
            )
        ]
    )
    return Suite(
        batch_query=f"select * from predictions.decisions where as_of_date = {day}",
        expectations=[
            covers_inactive_users(border),
            *within_budget,
            no_rows(
                "select event_id from {batch} as batch inner join features.open_events using (as_of_date, event_id) "
                "where decision = 'target' and capacity_left is not null "
                "group by event_id, capacity_left having count(*) > capacity_left",
                "an event has more guests than seats",
            ),
            no_rows(
                "select user_id from {batch} as batch left join features.open_events using (as_of_date, event_id) "
                "where decision = 'target' and title is null",
                "somebody is invited to an event that is not open",
            ),
            no_rows(
                "select user_id from {batch} as batch left join features.eligible_user_channels as granted "
                "using (as_of_date, user_id, channel) where decision = 'target' and granted.user_id is null",
                "somebody is invited over a channel without consent",
            ),
            no_rows(
                "select 1 from {batch} where reason is null or reason = ''",
                "a decision without a reason cannot be explained",
            ),
            no_rows(
                "select 1 from {batch} having count(*) >= 200 and count(*) filter (where decision = 'target') = 0",
                "nobody is invited: see the reasons in predictions.decisions",
                severity=WARNING,
            ),
        ],
    )
