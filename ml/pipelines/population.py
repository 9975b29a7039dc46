"""Reads what decisions need besides the response matrix: rights, contacts, earlier arms, the business's order."""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from ml.contracts import ResponseMatrix
from ml.pipelines.channels import read_user_channels
from ml.pipelines.contacts import LANDED_CONTACTS, PLANNED_CONTACTS
from ml.pipelines.reading import FeatureCatalogue
from ml.pipelines.rules import DecisionError, Population
from warehouse.door import Warehouse
from warehouse.settings import Settings

__all__ = ["read_population"]

EXPOSED_PAIRS = """
    select distinct user_id, event_id from features.exposed_pairs
    where as_of_date = %(as_of_date)s order by user_id, event_id
"""

EARLIER_ARMS = """
    select distinct on (assignments.user_id, assignments.event_id)
        assignments.user_id, assignments.event_id, assignments.policy, assignments.arm = 'none' as was_held_back
    from experiments.assignments
    inner join marketing.publications using (as_of_date)
    where assignments.as_of_date < %(as_of_date)s and assignments.event_id = any(%(events)s)
    order by assignments.user_id, assignments.event_id, assignments.as_of_date
"""

SEGMENTS = "select user_id, segment from predictions.user_scores where as_of_date = %(as_of_date)s order by user_id"

PROFILES = "select user_id, country, age_years from features.feat_user_profile where as_of_date = %(as_of_date)s"

# A campaign that did harm stays stopped. Of earlier dates, so that a date's decisions do not depend on when they ran.
STOPPED = """
    select distinct on (campaign_id) campaign_id, decision
    from experiments.campaigns
    where action = 'stop_for_harm' and as_of_date < %(as_of_date)s
    order by campaign_id, as_of_date
"""


def read_population(warehouse: Warehouse, matrix: ResponseMatrix, settings: Settings) -> Population:
    """Read rights, contacts, earlier arms and segments of the users of the matrix.

    Which channel a user gets is said by `read_user_channels`.

    Raises:
        DecisionError: the business's rule orders by a column that no feature table has.
    """
    when: dict[str, Any] = {"as_of_date": matrix.as_of_date}
    span = when | {"days": settings.caps.days}
    users, events = pd.Index(matrix.user_ids), pd.Index(matrix.events["event_id"])
    channels = read_user_channels(warehouse, matrix.as_of_date, matrix.channel_factors).reindex(users)
    is_suppressed = channels["is_suppressed"].fillna(False).to_numpy(dtype=bool)
    contacts = warehouse.read_frame(LANDED_CONTACTS, span).set_index("user_id")["contacts_count"]
    segments = warehouse.read_frame(SEGMENTS, when).set_index("user_id")["segment"]
    planned = warehouse.read_frame(PLANNED_CONTACTS, span)
    earlier = warehouse.read_frame(EARLIER_ARMS, when | {"events": events.tolist()})
    stopped = warehouse.read_frame(STOPPED, when)
    policy, held = np.full((users.size, events.size), "", dtype=object), np.zeros((users.size, events.size), dtype=bool)
    rows, columns, known = _places(earlier, users, events)
    policy[rows, columns] = earlier["policy"].to_numpy(dtype=object)[known]
    held[rows, columns] = earlier["was_held_back"].to_numpy(dtype=bool)[known]
    return Population(
        channel=channels["channel"].fillna("").to_numpy(dtype=object),
        is_suppressed=is_suppressed,
        recent_contacts=contacts.reindex(users).fillna(0).to_numpy(dtype=int),
        already_exposed=_pairs(warehouse.read_frame(EXPOSED_PAIRS, when), users, events),
        segment=segments.reindex(users).fillna("").to_numpy(dtype=object),
        is_barred=_barred(warehouse, matrix, settings, users),
        planned_contacts=planned["user_id"].value_counts().reindex(users).fillna(0).to_numpy(dtype=int),
        is_planned=_pairs(planned, users, events),
        earlier_policy=policy,
        was_held_back=held,
        rule_score=_rule_score(warehouse, matrix.as_of_date, settings, users),
        stopped={str(row.campaign_id): str(row.decision) for row in stopped.itertuples()},
    )


def _places(pairs: pd.DataFrame, users: pd.Index, events: pd.Index) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, column and which of the pairs are users and events of the matrix."""
    rows, columns = users.get_indexer(pd.Index(pairs["user_id"])), events.get_indexer(pd.Index(pairs["event_id"]))
    known = (rows >= 0) & (columns >= 0)
    return rows[known], columns[known], known


def _pairs(pairs: pd.DataFrame, users: pd.Index, events: pd.Index) -> np.ndarray:
    """Pairs as a mask of shape (users, events)."""
    mask = np.zeros((users.size, events.size), dtype=bool)
    rows, columns, _ = _places(pairs, users, events)
    mask[rows, columns] = True
    return mask


def _barred(warehouse: Warehouse, matrix: ResponseMatrix, settings: Settings, users: pd.Index) -> np.ndarray | None:
    """Whom the settings keep from which event by country or age; a user of whom neither is known is kept from both."""
    kinds = matrix.events["event_type"].astype(str).tolist()
    limits = [settings.events.get(kind) for kind in kinds]
    if all(limit is None for limit in limits):
        return None
    profiles = warehouse.read_frame(PROFILES, {"as_of_date": matrix.as_of_date}).set_index("user_id").reindex(users)
    country = profiles["country"].fillna("").to_numpy(dtype=object)
    # Only the year of birth is known: this year's birthday may still be to come.
    oldest = profiles["age_years"].to_numpy(dtype=np.float64, na_value=np.nan)
    barred = np.zeros((users.size, len(kinds)), dtype=bool)
    for column, limit in enumerate(limits):
        if limit is None:
            continue
        if limit.countries is not None:
            barred[:, column] |= ~np.isin(country, limit.countries)
        if limit.minimum_age is not None:
            barred[:, column] |= ~(oldest - 1 >= limit.minimum_age)
        if limit.maximum_age is not None:
            barred[:, column] |= ~(oldest <= limit.maximum_age)
    return barred


def _rule_score(warehouse: Warehouse, as_of_date: date, settings: Settings, users: pd.Index) -> np.ndarray | None:
    """What the business's own rule orders by, larger first; None where the rule has no users."""
    rule = settings.business_rule
    if rule.share == 0:
        return None
    catalogue = FeatureCatalogue.read(warehouse)
    relation = next((name for name, columns in catalogue.user_columns.items() if rule.order_by in columns), None)
    if relation is None:
        raise DecisionError(
            f"business_rule.order_by = {rule.order_by!r} is no column of the feature tables; it may be one of "
            f"{', '.join(sorted(catalogue.user_names))}."
        )
    frame = warehouse.read_frame(
        f'select user_id, cast("{rule.order_by}" as double precision) as score from features.{relation} '
        "where as_of_date = %s",
        (as_of_date,),
    )
    score = frame.set_index("user_id")["score"].reindex(users).to_numpy(dtype=np.float64, na_value=np.nan)
    return score if rule.descending else -score
