"""Says of every user of a date whether they are still there, by each definition of inactivity, and writes it down."""

from collections.abc import Iterator
from contextlib import closing
from datetime import date

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa

from ml.pipelines.batches import read_ahead, write_behind
from ml.pipelines.reading import read_in_bulk, require_features, user_ranges
from ml.value import DEFINITIONS, ActivityModel, compare_definitions
from warehouse.blocks import read_block
from warehouse.door import Warehouse
from warehouse.settings import Settings

__all__ = [
    "ACTIVITY",
    "ACTIVITY_SOURCE",
    "ACTIVITY_TABLE",
    "activity_rows",
    "chances_of_being_alive",
    "comparison_sentence",
    "fit_activity",
    "read_activity",
    "write_user_activity",
]

#: Where `write_user_activity` writes.
ACTIVITY_TABLE = "predictions.user_activity"
#: What features.feat_user_behaviour says of activity, without looking up the user.
ACTIVITY_SOURCE = "features.user_sums_as_of_dates"
_USERS_AT_A_TIME = 65_536
#: Features of users that say when they were active.
ACTIVITY = ("active_days_count_life", "days_since_first_activity", "days_since_last_activity")


def read_activity(warehouse: Warehouse, as_of_date: date) -> pd.DataFrame:
    """Read when every user was active, sorted by user_id: user_id, three columns of days, is_inactive (the fixed rule).

    Raises:
        PipelineError: there are no features for the date.
    """
    require_features(warehouse, as_of_date)
    return warehouse.read_frame(
        f"select user_id, {', '.join(ACTIVITY)}, is_inactive from {ACTIVITY_SOURCE}"
        ' where as_of_date = %s order by user_id collate "C"',
        (as_of_date,),
    )


def fit_activity(users: pd.DataFrame, settings: Settings) -> ActivityModel:
    """Learn how users come and stop from what `read_activity` gave."""
    return ActivityModel(late_after=settings.inactivity.late_after).fit(*_days(users))


def read_activity_in_parts(warehouse: Warehouse, as_of_date: date) -> Iterator[tuple[pa.Array, pd.DataFrame]]:
    """Read as `read_activity`, some users at a time in any order: their ids, and the columns.

    Raises:
        PipelineError: there are no features for the date.
    """
    require_features(warehouse, as_of_date)
    names = [*ACTIVITY, "is_inactive"]
    with closing(warehouse.connect()) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        read_in_bulk(connection)
        for first, following in user_ranges(connection, _USERS_AT_A_TIME):
            end = "" if following is None else " and user_id < %(next)s"
            block = read_block(
                connection,
                f"from {ACTIVITY_SOURCE} where as_of_date = %(as_of_date)s and user_id >= %(first)s{end}",
                {"as_of_date": as_of_date, "first": first, "next": following},
                numbers=[*ACTIVITY, "cast(is_inactive as integer)"],
                texts=["user_id"],
            )
            yield block.texts["user_id"], pd.DataFrame(block.numbers, columns=names)


def activity_rows(users: pd.DataFrame, model: ActivityModel, settings: Settings) -> pd.DataFrame:
    """Return the rows of predictions.user_activity but for the date and the users, one per user."""
    judged = model.describe(*_days(users))
    fixed = users["is_inactive"].to_numpy(dtype=bool)
    chance = judged["p_alive"].to_numpy()
    inactive = {
        "fixed": fixed,
        # Whoever was never active has no rhythm and no chance: the fixed rule holds.
        "rhythm": np.where(np.isnan(chance), fixed, judged["is_late"].to_numpy(dtype=bool)),
        "p_alive": np.where(np.isnan(chance), fixed, chance < settings.inactivity.alive_below),
    }
    return pd.DataFrame(
        {
            "p_alive": chance,
            "usual_gap_days": judged["usual_gap_days"],
            "days_late": judged["days_late"],
            "late_from_days": judged["late_from_days"],
            **{f"is_inactive_{name}": values for name, values in inactive.items()},
            "is_inactive": inactive[settings.inactivity.definition],
        }
    )


def chances_of_being_alive(features: pd.DataFrame, model: ActivityModel) -> np.ndarray:
    """Return P(alive) of users from their features, shape (users,); NaN for who was never active."""
    if not set(ACTIVITY) <= set(features.columns):
        return np.full(len(features), np.nan)
    return model.describe(*_days(features))["p_alive"].to_numpy()


def write_user_activity(
    warehouse: Warehouse, as_of_date: date, model: ActivityModel, settings: Settings, *, version: str | None
) -> pd.DataFrame:
    """Replace the rows of a date in predictions.user_activity; return how the definitions differ.

    Training calls it before it looks at the inactive, where their definition rests on a model; scoring always. The
    `version` of the model stands in every row; in training there is none yet, because it depends on what is learned.
    """
    comparisons: list[pd.DataFrame] = []
    key = {"as_of_date": as_of_date}
    with (
        warehouse.transaction() as connection,
        warehouse.replacing(connection, ACTIVITY_TABLE, key) as write,
        write_behind(write) as hand_over,
    ):
        # Three at once: the next users are read and the last ones written while these are judged.
        for user_ids, users in read_ahead(read_activity_in_parts(warehouse, as_of_date)):
            rows = activity_rows(users, model, settings)
            columns = {str(name): rows[name].to_numpy() for name in rows}
            constants = {"as_of_date": pa.scalar(as_of_date), "model_version": pa.scalar(version, pa.string())}
            alike = {name: pa.repeat(value, len(rows)) for name, value in constants.items()}
            hand_over(pa.table({"user_id": user_ids, **columns, **alike}))
            comparisons.append(compare_definitions({name: columns[f"is_inactive_{name}"] for name in DEFINITIONS}))
    # Counts of users, which add up.
    return pd.concat(comparisons).groupby("definition", sort=False).sum().reset_index()


def comparison_sentence(comparison: pd.DataFrame, settings: Settings) -> str:
    """Say how many users the other definitions of inactivity would add and remove."""
    chosen = settings.inactivity.definition
    others = [
        f'"{row.definition}" {row.users:,} ({row.added:,} added, {row.removed:,} removed)'
        for row in comparison.itertuples()
        if row.definition != "fixed"
    ]
    users = int(comparison.loc[comparison["definition"] == "fixed", "users"].iloc[0])
    sentence = f'Inactive by the fixed rule: {users:,} users; by {" and by ".join(others)}. The setting is "{chosen}".'
    if chosen == "fixed":
        return sentence
    added = int(comparison.loc[comparison["definition"] == chosen, "added"].iloc[0])
    return (
        f"{sentence} The chance to return was learned from users silent for more than "
        f"{settings.inactive_after_days} days; for the {added:,} added it is carried over to shorter silences."
    )


def _days(users: pd.DataFrame) -> tuple[np.ndarray, ...]:
    return tuple(users[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in ACTIVITY)
