"""What the landed sessions must be as a whole."""

from expectations.suite import WARNING, Border, Suite, between, no_rows, rows_at_least


def suite(border: Border) -> Suite:
    """Expectations on `raw.sessions`: there is activity, it is fresh, and the last week is not half a week."""
    alerts = border.settings.alerts
    last_session = "select max(started_at) as last_started_at from {batch}"
    stale = f"{last_session} having max(started_at) < {border.as_of} - interval '{{days}} days'"
    # The week before the last session, not before the as_of_date: a stale batch has a rule of its own.
    half_week = f"""
        with last_day as (select max(started_at) as ends_at from {{batch}} as batch),
        weeks as (
            select
                count(*) filter (where started_at > ends_at - interval '7 days') as last_week,
                count(*) filter (where started_at <= ends_at - interval '7 days') / 4.0 as usual_week
            from {{batch}} as batch cross join last_day
            where started_at > ends_at - interval '35 days'
        )
        select last_week, usual_week from weeks
        where usual_week >= 250 and last_week < {alerts.minimum_volume_ratio} * usual_week
    """
    return Suite(
        batch_query=f"select started_at, duration_seconds from raw.sessions where started_at < {border.as_of}",
        expectations=[
            rows_at_least(1, "before the first session nothing is known of anybody: choose a later as_of_date"),
            no_rows(
                stale.format(batch="{batch}", days=alerts.stale_after_days),
                f"the last session is more than {alerts.stale_after_days} days before the as_of_date: "
                "users look inactive who are not",
                severity=WARNING,
            ),
            no_rows(
                # A handful of users may well have been away that long; a busy product is never silent.
                stale.format(batch="{batch}", days=alerts.stop_when_stale_after_days) + " and count(*) >= 1000",
                f"the last session is more than {alerts.stop_when_stale_after_days} days before the as_of_date: "
                "everybody would look inactive; land fresh data or choose an earlier as_of_date",
            ),
            no_rows(
                half_week,
                f"the last week of sessions has less than {alerts.minimum_volume_ratio:g} times the usual number: "
                "part of the data is missing, and who is missing would look inactive",
            ),
            between("duration_seconds", 0, 86_400, "a session longer than a day is a broken clock", mostly=0.99),
        ],
    )
