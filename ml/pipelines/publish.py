"""Stage `publish_targets`: what marketing sees changes as a whole, or not at all."""

from datetime import date
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from ml.contracts import StageReport
from ml.pipelines.contacts import LANDED_CONTACTS, PLANNED_CONTACTS
from warehouse.conflicts import retry_conflicts
from warehouse.door import Warehouse, relation
from warehouse.settings import Settings

# The grants of those who are about to be shown, locked until the commit: a withdrawal that comes meanwhile waits for it
# and then takes its user out; one that came before is waited for. Locked before any target is touched, so that a
# withdrawal and a publish never wait for each other.
LOCK_GRANTS = """
    create temporary table granted_now on commit drop as
    select granted.user_id, granted.channel
    from privacy.granted_consents as granted
    inner join predictions.decisions using (user_id, channel)
    where granted.purpose = 'marketing' and decisions.as_of_date = %(as_of_date)s and decisions.decision = 'target'
    for key share of granted
"""

# A withdrawal of several statements may hold what a publish waits for and want what it holds. The publish is the one
# that gives way, before Postgres looks for deadlocks (after a second): a withdrawal does not fail because of it.
PATIENCE = "set local lock_timeout = '300ms'"

# What has changed since the plan was made; the first reason that holds is told.
CHECK_TARGETS: LiteralString = f"""
    create temporary table checked_targets on commit drop as
    select
        decisions.user_id,
        case
            when granted_now.user_id is null then 'withdrew the consent'
            when exists (
                select from privacy.current_suppressions as listed
                where listed.user_id = decisions.user_id and listed.channel in (decisions.channel, 'all')
            ) then 'came onto the suppression list'
            when stopped.campaign_id is not null then 'were chosen for an event that was stopped for harm'
            when
                coalesce(landed.contacts_count, 0) + coalesce(planned.contacts_count, 0)
                - coalesce(cast(decisions.event_id = any(planned.events) as integer), 0) >= %(contacts_per_user)s
                then 'reached the cap of contacts'
        end as problem
    from predictions.decisions
    left join granted_now using (user_id, channel)
    left join (
        select distinct campaign_id from experiments.campaigns
        where action = 'stop_for_harm' and as_of_date < %(as_of_date)s
    ) as stopped on stopped.campaign_id = decisions.event_id
    left join ({LANDED_CONTACTS}) as landed on landed.user_id = decisions.user_id
    left join (
        select user_id, count(*) as contacts_count, array_agg(event_id) as events
        from ({PLANNED_CONTACTS}) as pairs group by user_id
    ) as planned on planned.user_id = decisions.user_id
    where decisions.as_of_date = %(as_of_date)s and decisions.decision = 'target'
"""

DROPPED = """
    select problem, count(*) from checked_targets where problem is not null group by problem order by problem
"""

TARGETS = """
    insert into marketing.targets (
        as_of_date, user_id, rank, segment, event_id, event_type, channel, arm, p_return, p_return_if_not_contacted,
        uplift, p_conversion, lifetime_value, value_score, expected_incremental_value, cost, model_version, reason,
        explanation
    )
    select
        decisions.as_of_date,
        decisions.user_id,
        row_number() over (order by decisions.expected_incremental_value desc, decisions.user_id collate "C"),
        decisions.segment,
        decisions.event_id,
        decisions.event_type,
        decisions.channel,
        decisions.arm,
        decisions.p_return,
        scores.p_return_if_not_contacted,
        decisions.p_return - scores.p_return_if_not_contacted,
        decisions.p_conversion,
        scores.lifetime_value,
        scores.value_score,
        decisions.expected_incremental_value,
        decisions.cost,
        decisions.model_version,
        decisions.reason,
        decisions.explanation
    from predictions.decisions
    inner join predictions.user_scores as scores using (as_of_date, user_id)
    inner join checked_targets on checked_targets.user_id = decisions.user_id and checked_targets.problem is null
    where decisions.as_of_date = %(as_of_date)s and decisions.decision = 'target'
    order by 3
"""

TOP_USERS = """
    insert into marketing.top_users (
        as_of_date, user_id, rank, segment, value_score, p_return_if_not_contacted, p_return_best, best_event_id,
        p_conversion, lifetime_value, p_alive, social_influence, is_reachable, percentile, percentile_in_segment
    )
    select
        as_of_date, user_id,
        row_number() over (order by value_score desc nulls last, user_id collate "C"),
        segment, value_score, p_return_if_not_contacted, p_return_best, best_event_id,
        p_conversion, lifetime_value, p_alive, social_influence, is_reachable,
        -- The share of users that this user beats or equals.
        100 * cume_dist() over (order by value_score nulls first),
        100 * cume_dist() over (partition by segment order by value_score nulls first)
    from predictions.user_scores
    where as_of_date = %(as_of_date)s
    order by 3
"""

SEGMENT_PROFILES = """
    insert into marketing.segment_profiles (
        as_of_date, segment, size, share, definition, medians, example, best_event_type, expected_value
    )
    select as_of_date, segment, size, share, definition, medians, example, best_event_type, expected_value
    from predictions.segments
    where as_of_date = %(as_of_date)s
    order by segment
"""

# What later plans and the cap of contacts count, and what is measured.
INVITATIONS = """
    insert into experiments.invitations (as_of_date, user_id, event_id, channel)
    select as_of_date, user_id, event_id, channel from marketing.targets
"""

# In blocks, because one text may not be longer than 1 GB. Rows are hashed in the order of their rank.
CONTENT_HASH = """
    select coalesce(encode(sha256(convert_to(string_agg(block_hash, '' order by block), 'UTF8')), 'hex'), '')
    from (
        select
            rank / 10000 as block,
            encode(sha256(convert_to(string_agg(cast(targets as text), E'\\n' order by rank), 'UTF8')), 'hex')
                as block_hash
        from marketing.targets
        group by rank / 10000
    ) as blocks
"""

# How the decisions of a date stand against those who should have one.
COVERAGE = """
    select
        (select count(*) from predictions.plans where as_of_date = %(as_of_date)s) as plans,
        (
            select count(*) from {relation} where as_of_date = %(as_of_date)s and is_inactive
        ) as inactive,
        count(*) as decided,
        count(*) filter (where activity.is_inactive) as decided_inactive,
        count(*) filter (where scores.user_id is null) as unscored
    from predictions.decisions
    left join {relation} as activity using (as_of_date, user_id)
    left join predictions.user_scores as scores using (as_of_date, user_id)
    where decisions.as_of_date = %(as_of_date)s
"""


class PublishError(ValueError):
    """What lies in predictions must not be shown to marketing; the message says what to run first."""


def publish_targets(as_of_date: date, settings: Settings, *, may_go_back: bool = False) -> StageReport:
    """Replace everything marketing sees by the predictions of a date, in one transaction.

    The same date may be published again, and gives the same rows. A date older than the published one is left alone
    (a backfill recomputes predictions of the past; what marketing works with must not go back): nothing is written,
    and the report says so. Who withdrew the consent since the plan was made, came onto the suppression list or reached
    the cap by another plan is left out and counted; the decisions keep what was planned.

    Args:
        as_of_date: the date whose predictions are shown.
        settings: where the warehouse is.
        may_go_back: publish although a newer date is shown, to take back a bad plan.

    Raises:
        PublishError: there are no decisions for the date, or not one for every inactive user.
        WarehouseError: withdrawals held the same rows every time it was tried; marketing sees what it saw.
    """
    return retry_conflicts(lambda: _publish(as_of_date, settings, may_go_back=may_go_back), "publishing targets")


def _publish(as_of_date: date, settings: Settings, *, may_go_back: bool) -> StageReport:
    """Publish in one transaction, which gives up where it would have to wait for a withdrawal."""
    warehouse = Warehouse(settings.warehouse_url)
    when = {"as_of_date": as_of_date}
    with warehouse.transaction() as connection:
        # Two runs that publish at once follow one another; readers are not held up.
        connection.execute("lock table marketing.publications in share row exclusive mode")
        connection.execute(PATIENCE)
        newest = _row(connection, "select max(as_of_date) from marketing.publications", {})[0]
        if newest is not None and newest > as_of_date and not may_go_back:
            return _left_alone(as_of_date, newest)
        _refuse_unfit(connection, as_of_date, settings)
        connection.execute(LOCK_GRANTS, when)
        connection.execute("delete from experiments.invitations where as_of_date >= %(as_of_date)s", when)
        caps = {"contacts_per_user": settings.caps.contacts_per_user, "days": settings.caps.days}
        connection.execute(CHECK_TARGETS, when | caps)
        dropped = {str(problem): int(users) for problem, users in connection.execute(DROPPED)}
        # Delete, not truncate: a reader with an open snapshot keeps seeing the old rows until the commit.
        for table in ("targets", "top_users", "segment_profiles"):
            connection.execute(sql.SQL("delete from {}").format(relation(f"marketing.{table}")))
        targets = connection.execute(TARGETS, when).rowcount
        connection.execute(INVITATIONS)
        users = connection.execute(TOP_USERS, when).rowcount
        segments = connection.execute(SEGMENT_PROFILES, when).rowcount
        content_hash = _row(connection, CONTENT_HASH, {})[0]
        connection.execute("delete from marketing.publications where as_of_date >= %(as_of_date)s", when)
        connection.execute(
            "insert into marketing.publications (as_of_date, targets, dropped, sha256) values (%s, %s, %s, %s)",
            (as_of_date, targets, sum(dropped.values()), content_hash),
        )
    return StageReport(
        stage="publish_targets",
        as_of_date=as_of_date,
        rows=targets,
        messages=(
            f"{targets} targets, {users} ranked users and {segments} segments are what marketing sees now.",
            *(f"Left out of the plan: {count} who {problem} since it was made." for problem, count in dropped.items()),
        ),
        details={
            "targets": targets,
            "top_users": users,
            "segments": segments,
            "dropped": sum(dropped.values()),
            "sha256": content_hash,
        },
    )


def _row(connection: psycopg.Connection[Any], statement: LiteralString, parameters: dict[str, Any]) -> tuple[Any, ...]:
    """The only row of a query that always gives one."""
    return tuple(connection.execute(statement, parameters).fetchone() or ())


def _left_alone(as_of_date: date, newest: date) -> StageReport:
    """The report of a date that is older than what marketing sees."""
    return StageReport(
        stage="publish_targets",
        as_of_date=as_of_date,
        rows=0,
        messages=(f"Marketing already sees {newest}; the older {as_of_date} was not published over it.",),
    )


def _refuse_unfit(connection: psycopg.Connection[Any], as_of_date: date, settings: Settings) -> None:
    """Stop before anything is written when decisions are missing, doubled or without a score."""
    coverage = COVERAGE.format(relation=settings.activity_relation)
    plans, inactive, decided, decided_inactive, unscored = _row(connection, coverage, {"as_of_date": as_of_date})
    # A plan without decisions is what a date leaves on which every user is active.
    if plans == 0 or (decided == 0 and inactive > 0):
        raise PublishError(f"There are no decisions for {as_of_date}: run score_users for that date first.")
    if not inactive == decided == decided_inactive:
        raise PublishError(
            f"{inactive} users are inactive on {as_of_date}, but {decided} have a decision ({decided_inactive} of them "
            "inactive): run score_users for that date again."
        )
    if unscored:
        raise PublishError(f"{unscored} users with a decision on {as_of_date} have no score: run score_users again.")
