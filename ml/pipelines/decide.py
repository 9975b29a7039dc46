"""Stage `decide_targets`: who is invited to which event, over which channel, and why everybody else is not."""

import json
from datetime import date

import numpy as np
import pandas as pd

from ml.contracts import ResponseMatrix, StageReport
from ml.pipelines.decisions import DecisionError, DecisionRules, Decisions, Population, decide
from ml.pipelines.matrix import matrix_values, response_matrix
from warehouse.door import Warehouse
from warehouse.settings import Settings

# A channel's worth is the share of inactive users who returned after an exposure over it, drawn towards that of all
# channels while there are few. Ties go to the channel used most, then to the name.
CHANNELS = """
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
    where granted.as_of_date = %(as_of_date)s
    order by
        granted.user_id collate "C",
        is_suppressed,
        coalesce(channels_ranked.return_rate, 0) desc,
        coalesce(channels_ranked.examples_count, 0) desc,
        granted.channel collate "C"
"""

RECENT_CONTACTS = """
    select user_id, count(*) as contacts_count
    from marts.fct_exposures
    where arm = 'treated'
        and exposed_at < cast(%(as_of_date)s as timestamp) at time zone 'UTC'
        and exposed_at >= cast(%(as_of_date)s as timestamp) at time zone 'UTC' - make_interval(days => %(days)s)
    group by user_id
    order by user_id
"""

EXPOSED_PAIRS = """
    select distinct user_id, event_id from features.exposed_pairs
    where as_of_date = %(as_of_date)s order by user_id, event_id
"""

SEGMENTS = "select user_id, segment from predictions.user_scores where as_of_date = %(as_of_date)s order by user_id"

INACTIVE = """
    select count(*) from features.feat_user_behaviour where as_of_date = %(as_of_date)s and is_inactive
"""


def decide_targets(as_of_date: date, settings: Settings) -> StageReport:
    """Give every inactive user of a date one decision and write them with the plan, replacing the date's rows.

    Reads the response matrix, consents, caps and past exposures; writes `predictions.decisions` and
    `predictions.plans`. The same data, date, settings and seed give the same rows.

    Raises:
        DecisionError: users were not scored for this date, or what the choice needs is missing.
    """
    warehouse = Warehouse(settings.warehouse_url)
    matrix = response_matrix(warehouse, as_of_date, settings)
    inactive = warehouse.scalar(INACTIVE, {"as_of_date": as_of_date})
    if inactive != len(matrix.user_ids):
        raise DecisionError(
            f"{inactive} users are inactive on {as_of_date}, but the response matrix has {len(matrix.user_ids)}: "
            "build the features of this date again, then score."
        )
    population = read_population(warehouse, matrix, settings)
    decisions = decide(matrix, matrix_values(matrix, settings), population, rules_of(settings))
    rows = write_decisions(warehouse, matrix, decisions, settings)
    return _report(as_of_date, decisions, settings, rows)


def rules_of(settings: Settings) -> DecisionRules:
    """The settings that decisions depend on."""
    return DecisionRules(
        budget=None if settings.budget is None else float(settings.budget),
        holdout_share=settings.holdout_share,
        control_share=settings.control_share,
        exploration_share=settings.exploration_share,
        contacts_per_user=settings.caps.contacts_per_user,
        contact_days=settings.caps.days,
        seed=settings.seed,
    )


def read_population(warehouse: Warehouse, matrix: ResponseMatrix, settings: Settings) -> Population:
    """Read consents, past contacts and segments of the users of the matrix.

    Among the channels with consent that are not suppressed, a user gets the one over which most users came back.
    """
    when = {"as_of_date": matrix.as_of_date}
    users = pd.Index(matrix.user_ids)
    channels = warehouse.read_frame(CHANNELS, when).drop_duplicates("user_id").set_index("user_id").reindex(users)
    is_suppressed = channels["is_suppressed"].fillna(False).to_numpy(dtype=bool)
    contacts = warehouse.read_frame(RECENT_CONTACTS, when | {"days": settings.caps.days})
    pairs = warehouse.read_frame(EXPOSED_PAIRS, when)
    segments = warehouse.read_frame(SEGMENTS, when).set_index("user_id")["segment"]
    already_exposed = np.zeros((users.size, matrix.events.shape[0]), dtype=bool)
    rows = users.get_indexer(pairs["user_id"])
    columns = pd.Index(matrix.events["event_id"]).get_indexer(pairs["event_id"])
    known = (rows >= 0) & (columns >= 0)
    already_exposed[rows[known], columns[known]] = True
    return Population(
        channel=np.where(is_suppressed, "", channels["channel"].fillna("").to_numpy(dtype=object)),
        is_suppressed=is_suppressed,
        recent_contacts=contacts.set_index("user_id")["contacts_count"].reindex(users).fillna(0).to_numpy(dtype=int),
        already_exposed=already_exposed,
        segment=segments.reindex(users).fillna("").to_numpy(dtype=object),
    )


def write_decisions(warehouse: Warehouse, matrix: ResponseMatrix, decisions: Decisions, settings: Settings) -> int:
    """Replace the date's decisions and plan in one transaction; return the number of decisions."""
    as_of_date = matrix.as_of_date
    frame = decisions.frame.assign(as_of_date=as_of_date, model_version=matrix.model_version)
    plan = decisions.plan
    prices = {
        "budget": round(plan.prices.budget, 6),
        "places": dict(zip(matrix.events["event_id"], plan.prices.capacities.round(6).tolist(), strict=True)),
        "in_words": list(decisions.notes),
    }
    summary = pd.DataFrame(
        {
            "as_of_date": [as_of_date],
            "candidates": [decisions.candidates],
            "targets": [int((frame["decision"] == "target").sum())],
            "budget": [None if settings.budget is None else float(settings.budget)],
            "cost": [decisions.cost],
            "value": [round(plan.value, 6)],
            "upper_bound": [round(plan.upper_bound, 6)],
            "gap": [plan.gap],
            "prices": [json.dumps(prices, sort_keys=True)],
        }
    )
    with warehouse.transaction() as connection:
        key = {"as_of_date": as_of_date}
        rows = warehouse.replace_rows(connection, "predictions.decisions", frame, key=key)
        warehouse.replace_rows(connection, "predictions.plans", summary, key=key)
    return rows


def _report(as_of_date: date, decisions: Decisions, settings: Settings, rows: int) -> StageReport:
    """What a person should know of the plan."""
    counts = decisions.frame["decision"].value_counts()
    plan = decisions.plan
    messages = [", ".join(f"{counts[name]} {name}" for name in sorted(counts.index)) or "No inactive user."]
    messages += decisions.notes
    limit = "no budget" if settings.budget is None else f"a budget of {settings.budget}"
    messages.append(
        f"The invitations are expected to cost {decisions.cost:.2f} ({limit}); the choice is at most {plan.gap:.2%} "
        "below the best possible one."
    )
    return StageReport(
        stage="decide_targets",
        as_of_date=as_of_date,
        rows=rows,
        messages=tuple(messages),
        details={name: int(counts[name]) for name in sorted(counts.index)}
        | {"expected_cost": decisions.cost, "gap": plan.gap},
    )
