"""Stage `decide_targets`: who is invited to which event, over which channel, and why everybody else is not."""

import json
from datetime import date

import numpy as np
import pandas as pd

from ml.contracts import ResponseMatrix, StageReport
from ml.pipelines.decisions import DecisionError, DecisionRules, Decisions, decide
from ml.pipelines.doubt import error_of_plans
from ml.pipelines.matrix import matrix_values, response_matrix
from ml.pipelines.population import read_population
from ml.pipelines.reasons import explain_users
from ml.pipelines.rules import EventLimits
from warehouse.door import Warehouse
from warehouse.settings import Settings

INACTIVE = """
    select count(*) from {relation} where as_of_date = %(as_of_date)s and is_inactive
"""


def decide_targets(as_of_date: date, settings: Settings) -> StageReport:
    """Give every inactive user of a date one decision and write them with the plan, replacing the date's rows.

    Reads the response matrix, consents, caps, past exposures and earlier plans; writes `predictions.decisions` (who
    was chosen, target or control, with what moves their chance), `experiments.assignments` and `predictions.plans`.
    The same data, date, settings and seed give the same rows.

    Raises:
        DecisionError: users were not scored for this date, or what the choice needs is missing.
    """
    warehouse = Warehouse(settings.warehouse_url)
    matrix = response_matrix(warehouse, as_of_date, settings)
    inactive = warehouse.scalar(INACTIVE.format(relation=settings.activity_relation), {"as_of_date": as_of_date})
    if inactive != len(matrix.user_ids):
        raise DecisionError(
            f"{inactive} users are inactive on {as_of_date}, but the response matrix has {len(matrix.user_ids)}: "
            "build the features of this date again, then score."
        )
    population = read_population(warehouse, matrix, settings)
    error_of = error_of_plans(warehouse, matrix, settings)
    decisions = decide(matrix, matrix_values(matrix), population, rules_of(settings), error_of)
    chosen = np.flatnonzero(decisions.frame["decision"].isin(["target", "control"]))
    explanation = np.full(len(matrix.user_ids), None, dtype=object)
    explanation[chosen] = explain_users(
        warehouse, as_of_date, settings, matrix.user_ids[chosen].tolist(), model_version=matrix.model_version
    )
    rows = write_decisions(warehouse, matrix, decisions, explanation, settings)
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
        holdout_renewal_days=settings.holdout_renewal_days,
        rule_share=settings.business_rule.share,
        rule_top_share=settings.business_rule.top_share,
        rule_event=settings.business_rule.event,
        events={
            kind: EventLimits(limits.minimum, None if limits.budget is None else float(limits.budget))
            for kind, limits in settings.events.items()
        },
        segment_shares={
            name: (shares.minimum_share, shares.maximum_share) for name, shares in settings.segments.items()
        },
    )


def write_decisions(
    warehouse: Warehouse, matrix: ResponseMatrix, decisions: Decisions, explanation: np.ndarray, settings: Settings
) -> int:
    """Replace the date's decisions, assignments and plan in one transaction; return the number of decisions."""
    as_of_date = matrix.as_of_date
    frame = decisions.frame.assign(as_of_date=as_of_date, model_version=matrix.model_version, explanation=explanation)
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
        # Two runs of a date follow one another: the second replaces what the first wrote.
        connection.execute("lock table predictions.plans in share row exclusive mode")
        rows = warehouse.replace_rows(connection, "predictions.decisions", frame, key=key)
        assignments = decisions.assignments.assign(as_of_date=as_of_date)
        warehouse.replace_rows(connection, "experiments.assignments", assignments, key=key)
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
