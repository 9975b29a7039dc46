"""Reads users, examples and open events from the feature tables, for training and scoring alike."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import psycopg

from ml.pipelines.catalogue import FeatureCatalogue, PipelineError
from ml.response import Examples
from warehouse.door import Warehouse

__all__ = [
    "PURCHASES",
    "FeatureCatalogue",
    "PipelineError",
    "TrainingRows",
    "examples_built_with",
    "purchase_columns",
    "read_event_features",
    "read_in_bulk",
    "read_inactive_users",
    "read_open_events",
    "read_purchases",
    "read_training_rows",
    "require_features",
    "user_ranges",
]

#: Features of users that the value models are asked with, by symbol.
PURCHASES = {
    "x": "repeat_purchase_days_count",
    "t_x": "purchase_recency_days",
    "T": "purchase_age_days",
    "z": "repeat_purchase_mean_amount",
}
# Of moments read in part so many are kept for those that chance did not decide, as long as there are any: tests show
# whether there is an effect, and the others who is moved more (docs/adr/0009-picked-rows-teach-slopes.md).
_SHARE_OF_OTHERS = 0.25
# Either kind has its places, and takes those that the other one leaves: of randomised moments the newest, of the others
# some drawn by a hash.
_DRAWN = """
    order by
        row_number() over (
            partition by assignment_probability is null
            order by
                case when assignment_probability is not null then as_of_date end desc,
                md5(example_id),
                example_id collate "C"
        ) > case
            when assignment_probability is null then %(most)s - %(most_randomised)s else %(most_randomised)s
        end,
        assignment_probability is null,
        case when assignment_probability is not null then as_of_date end desc,
        md5(example_id),
        example_id collate "C"
    limit %(most)s
"""


@dataclass(frozen=True)
class TrainingRows:
    """Past moments of inactive users whose outcome was known on a date, sorted by example_id.

    Attributes:
        keys: example_id, user_id, event_id, event_type, channel, arm, assignment_probability, as_of_date,
            has_returned, has_converted, revenue_amount, is_conversion_known.
        features: user features from before the moment, same rows.
        event_features: features towards the type of the event, same rows.
        left_out: moments that were known but not read.
        returned: every moment with a return, where `keys` hold only some of the moments; None where they hold all.
    """

    keys: pd.DataFrame
    features: pd.DataFrame
    event_features: pd.DataFrame
    left_out: int = 0
    returned: "TrainingRows | None" = None

    def returns(self) -> Examples:
        """Every moment, with 1 where the user returned within the window."""
        return self._examples(np.ones(len(self.keys), dtype=bool), "has_returned")

    def conversions(self) -> Examples:
        """Moments with a return whose conversion window has closed, with 1 where the user paid."""
        return self._after_a_return("has_converted")

    def revenues(self) -> Examples:
        """Moments with a return and a payment, with the payments within the value horizon (not below 0)."""
        return self._after_a_return("revenue_amount", only_payers=True)

    def worths(self) -> Examples:
        """Moments with a return whose conversion window has closed, with the payments after it; 0 without one."""
        return self._after_a_return("revenue_amount")

    def _after_a_return(self, outcome: str, *, only_payers: bool = False) -> Examples:
        rows = self.returned or self
        kept = _truth(rows.keys["has_returned"]) & _truth(rows.keys["is_conversion_known"])
        kept &= rows.keys["has_converted"].notna().to_numpy()
        return rows._examples(kept & _truth(rows.keys["has_converted"]) if only_payers else kept, outcome)

    def _examples(self, rows: np.ndarray, outcome: str) -> Examples:
        keys = self.keys[rows].reset_index(drop=True)
        values = keys[outcome].to_numpy(dtype=np.float64, na_value=0.0)
        return Examples(
            features=self.features[rows].reset_index(drop=True),
            event_features=self.event_features[rows].reset_index(drop=True),
            user_ids=keys["user_id"].to_numpy(dtype=object),
            event_types=keys["event_type"].astype(object).where(keys["event_type"].notna(), "").to_numpy(dtype=object),
            is_exposed=(keys["arm"] == "treated").to_numpy(dtype=bool),
            assignment_probability=keys["assignment_probability"].to_numpy(dtype=np.float64, na_value=np.nan),
            reference_days=keys["as_of_date"].to_numpy().astype("datetime64[D]").astype(np.int64),
            outcome=np.maximum(values, 0.0),
            channels=keys["channel"].astype(object).where(keys["channel"].notna(), "").to_numpy(dtype=object),
        )


def read_training_rows(
    warehouse: Warehouse,
    as_of_date: date,
    *,
    most: int | None = None,
    only_events: bool = False,
    with_features: bool = True,
    with_every_return: bool = False,
) -> TrainingRows:
    """Read past moments of inactive users whose return window had closed by `as_of_date`, with their features.

    Args:
        warehouse: where they are.
        as_of_date: what was known on it.
        most: at most so many: of moments at which chance decided who was invited the newest, and others drawn by a
            hash of their id, for which a quarter is kept; None = all.
        only_events: leave out moments that belong to no event.
        with_features: join the features; without them both frames of features have no columns.
        with_every_return: where some are left out, read those with a return all the same, for what comes after one:
            few return, and fewer pay.
    """
    rows = _read_rows(warehouse, as_of_date, most, only_events, with_features, only_returned=False)
    if not (with_every_return and rows.left_out):
        return rows
    return replace(
        rows, returned=_read_rows(warehouse, as_of_date, most, only_events, with_features, only_returned=True)
    )


def _read_rows(
    warehouse: Warehouse,
    as_of_date: date,
    most: int | None,
    only_events: bool,
    with_features: bool,
    *,
    only_returned: bool,
) -> TrainingRows:
    catalogue = FeatureCatalogue.read(warehouse) if with_features else FeatureCatalogue({}, {}, {})
    selected, joined = catalogue.joins("examples", with_event_features=True)
    drawn = "" if most is None else _DRAWN
    frame = warehouse.read_frame(
        "with known as (select *, count(*) over () as known_count from features.training_examples"
        " where is_inactive and return_known_at <= %(as_of_date)s and has_returned is not null"
        " and (has_returned or not %(only_returned)s)"
        f" and (not %(only_events)s or (event_id is not null and event_type is not null)){drawn})"
        " select examples.example_id, examples.user_id, examples.event_id, examples.event_type, examples.channel,"
        " examples.arm, examples.assignment_probability, examples.as_of_date, examples.has_returned,"
        " examples.has_converted, examples.revenue_amount,"
        " coalesce(examples.conversion_known_at <= %(as_of_date)s, false) as is_conversion_known, examples.known_count"
        f"{selected} from known as examples {joined}"
        ' order by examples.example_id collate "C"',
        {
            "as_of_date": as_of_date,
            "most": most,
            "most_randomised": None if most is None else most - int(most * _SHARE_OF_OTHERS),
            "only_events": only_events,
            "only_returned": only_returned,
        },
    )
    left_out = int(frame["known_count"].iloc[0]) - len(frame) if len(frame) else 0
    features = {*catalogue.user_names, *catalogue.event_names, "known_count"}
    key_names = [name for name in frame.columns if name not in features]
    return TrainingRows(frame[key_names], frame[catalogue.user_names], frame[catalogue.event_names], left_out)


def examples_built_with(warehouse: Warehouse) -> str:
    """Return what the table of training examples says of the settings and the history that it was built with.

    It is built anew when a setting changes or history lands later (dbt_project/macros/rebuilds.sql). Empty where it was
    built before it said so.
    """
    said = warehouse.scalar("select obj_description(to_regclass('features.training_examples'), 'pg_class')")
    return str(said or "")


def require_features(warehouse: Warehouse, as_of_date: date) -> None:
    """Make sure that features were built for a date.

    Raises:
        PipelineError: they were not.
    """
    with warehouse.transaction() as connection:
        # One row is asked for: what views join is looked up, not computed for everybody.
        for way in ("hashjoin", "mergejoin", "bitmapscan"):
            connection.execute(f"set local enable_{way} = off")
        (is_built,) = connection.execute(
            "select exists (select from features.feat_user_behaviour where as_of_date = %s)", (as_of_date,)
        ).fetchone() or (False,)
    if not is_built:
        raise PipelineError(
            f"No user has features on {as_of_date}: the date is before all data, or build_features has not run for it."
        )


def read_in_bulk(connection: psycopg.Connection[Any]) -> None:
    """Let Postgres join whole ranges of users by hash tables.

    How many rows of a view lie in a range the planner cannot know: guessing few it would look up each of them, and
    guessing many it would sort all columns of what it joins.
    """
    connection.execute("set local enable_nestloop = off")
    connection.execute("set local enable_mergejoin = off")
    # What belongs to one user lies nearly in order: to sort it is cheaper than a table of thousands of arrays.
    connection.execute("set local enable_hashagg = off")
    # Every user is looked up once: there is nothing to keep of it.
    connection.execute("set local enable_memoize = off")
    # Several processes take twice the processor time for these joins, and others have work for it.
    connection.execute("set local max_parallel_workers_per_gather = 0")


def user_ranges(connection: psycopg.Connection[Any], rows: int) -> Iterator[tuple[str, str | None]]:
    """Cut all users into ranges of user_id with some `rows` users each: first user, and the first of the next range.

    Where to cut is known from the statistics of raw.users. These have some hundred places whatever the number of users:
    where that is too few, or where there are none, users are counted off by their index, range by range as asked for.
    """
    found = connection.execute(
        "select users.reltuples, statistics.histogram_bounds::text::text[]"
        " from pg_class as users inner join pg_namespace as schemas on schemas.oid = users.relnamespace"
        " inner join pg_stats as statistics on (statistics.schemaname, statistics.tablename) = ('raw', 'users')"
        " where (schemas.nspname, users.relname) = ('raw', 'users') and statistics.attname = 'user_id'"
    ).fetchone()
    users, bounds = found if found is not None and found[1] else (0, [])
    count = math.ceil(users / rows) or 1
    if count < len(bounds):
        starts = ["", *(bounds[len(bounds) * number // count] for number in range(1, count))]
        yield from zip(starts, [*starts[1:], None], strict=True)
        return
    first: str | None = ""
    while first is not None:
        next_row = connection.execute(
            "select user_id from raw.users where user_id >= %s order by user_id offset %s limit 1", (first, rows)
        ).fetchone()
        following = None if next_row is None else str(next_row[0])
        yield first, following
        first = following


def read_inactive_users(
    warehouse: Warehouse,
    as_of_date: date,
    *,
    most: int | None = None,
    relation: str = "features.feat_user_behaviour",
) -> pd.DataFrame:
    """Read the features of users inactive on a date: index user_id, sorted; one column a feature.

    Args:
        warehouse: where they are.
        as_of_date: the date.
        most: at most so many users, drawn by a hash of their id; None = all.
        relation: whose column is_inactive counts; see `Settings.activity_relation`.

    Raises:
        PipelineError: nobody has features on that date.
    """
    require_features(warehouse, as_of_date)
    catalogue = FeatureCatalogue.read(warehouse)
    selected, joined = catalogue.joins("users", with_event_features=False)
    frame = warehouse.read_frame(
        f"with users as (select user_id, as_of_date from {relation}"
        " where as_of_date = %(as_of_date)s and is_inactive"
        ' order by md5(user_id), user_id collate "C" limit %(most)s)'
        f' select users.user_id{selected} from users {joined} order by users.user_id collate "C"',
        {"as_of_date": as_of_date, "most": most},
    )
    return frame.set_index("user_id")


def read_purchases(warehouse: Warehouse, as_of_date: date) -> pd.DataFrame:
    """Read the purchase history of every user, active or not, as the value models need it, sorted by user_id."""
    return warehouse.read_frame(
        "select repeat_purchase_days_count, purchase_recency_days, purchase_age_days, repeat_purchase_mean_amount,"
        ' payments_mean_amount from features.feat_user_money where as_of_date = %s order by user_id collate "C"',
        (as_of_date,),
    )


def purchase_columns(users: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return x, t_x, T and z of the value models from the money features, each of shape (users,)."""
    return {symbol: users[name].to_numpy(dtype=np.float64, na_value=np.nan) for symbol, name in PURCHASES.items()}


def read_event_features(warehouse: Warehouse, as_of_date: date, event_type: str, user_ids: pd.Index) -> pd.DataFrame:
    """Read the features of users towards one type of event: one row per user of `user_ids`, in that order."""
    catalogue = FeatureCatalogue.read(warehouse)
    joined = pd.DataFrame(index=user_ids)
    for relation, names in catalogue.event_columns.items():
        columns = "".join(f', "{name}"' for name in names)
        frame = warehouse.read_frame(
            f"select user_id{columns} from features.{relation}"
            " where as_of_date = %s and event_type = %s and user_id = any(%s)",
            (as_of_date, event_type, user_ids.tolist()),
        )
        joined = joined.join(frame.set_index("user_id"))
    return joined


def read_open_events(warehouse: Warehouse, as_of_date: date) -> pd.DataFrame:
    """Read the events that users can be invited to on a date, sorted by event_id."""
    return warehouse.read_frame(
        "select event_id, event_type, title, starts_at, ends_at, reward_cost, contact_cost, capacity_left"
        ' from features.open_events where as_of_date = %s order by event_id collate "C"',
        (as_of_date,),
    )


def _truth(column: pd.Series) -> np.ndarray:
    return column.astype("boolean").fillna(False).to_numpy(dtype=bool)
