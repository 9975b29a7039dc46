"""Reads the inactive users of a date in batches of bounded size, the next one while the last is worked on."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import psycopg

from ml.pipelines.reading import FeatureCatalogue, require_features
from warehouse.door import Warehouse, as_frame, read_arrow

__all__ = ["ROWS_PER_BATCH", "UserBatch", "read_user_batches"]

# 65,536 users with 150 features are some 80 MB of Arrow and as much again of frames.
ROWS_PER_BATCH = 65_536

_IS_REACHABLE = "_is_reachable"
_Item = TypeVar("_Item")
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class UserBatch:
    """Some inactive users of a date.

    Attributes:
        features: user features, index user_id, one column a feature.
        event_features: features of the same users towards each type of event asked for, same index; frames without
            columns where they were not asked for.
        is_reachable: bool, shape (users,): may be contacted over at least one channel.
    """

    features: pd.DataFrame
    event_features: Mapping[str, pd.DataFrame]
    is_reachable: np.ndarray


def read_user_batches(
    warehouse: Warehouse,
    as_of_date: date,
    event_types: Sequence[str],
    *,
    with_event_features: bool,
    rows: int = ROWS_PER_BATCH,
    relation: str = "features.feat_user_behaviour",
) -> Iterator[UserBatch]:
    """Read every inactive user of a date, at most `rows` at a time, in the warehouse's order of user_id.

    Whose column is_inactive counts is said by `relation`; see `Settings.activity_relation`.

    All batches are of one snapshot. Each is a range of user_id, which the indexes of the feature tables serve: memory
    and sorting are bounded whatever the number of users. Where nobody is inactive there is one empty batch.

    Raises:
        PipelineError: there are no features for the date.
    """
    require_features(warehouse, as_of_date)
    catalogue = FeatureCatalogue.read(warehouse)
    with closing(warehouse.connect()) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True

        def read(limits: tuple[str, str | None]) -> UserBatch:
            asked = event_types if with_event_features else ()
            return _read_batch(connection, catalogue, relation, as_of_date, limits, asked)

        starts = _starts(connection, relation, as_of_date, rows)
        ranges = list(zip(starts, [*starts[1:], None], strict=True)) if starts else [("", "")]
        for batch in _read_ahead(read, ranges):
            missing = {name: pd.DataFrame(index=batch.features.index) for name in event_types}
            yield UserBatch(batch.features, missing | dict(batch.event_features), batch.is_reachable)


def _starts(connection: psycopg.Connection[Any], relation: str, as_of_date: date, rows: int) -> list[str]:
    """First user of every batch."""
    found = connection.execute(
        "select user_id from (select user_id, row_number() over (order by user_id) - 1 as position"
        f" from {relation} where as_of_date = %s and is_inactive) as numbered"
        " where position %% %s = 0 order by user_id",
        (as_of_date, rows),
    )
    return [row[0] for row in found.fetchall()]


def _read_batch(
    connection: psycopg.Connection[Any],
    catalogue: FeatureCatalogue,
    activity_relation: str,
    as_of_date: date,
    limits: tuple[str, str | None],
    event_types: Sequence[str],
) -> UserBatch:
    parameters = {"as_of_date": as_of_date, "first": limits[0], "next": limits[1], "event_types": list(event_types)}

    def within(relation: str) -> str:
        # The range stands at every table: Postgres does not carry it over from one to the next by itself.
        end = "" if limits[1] is None else f" and {relation}.user_id < %(next)s"
        return f"{relation}.as_of_date = %(as_of_date)s and {relation}.user_id >= %(first)s{end}"

    selected, joined = [], []
    for relation, names in catalogue.user_columns.items():
        selected += [f', {relation}."{name}"' for name in names]
        joined.append(f"left join features.{relation} on {relation}.user_id = users.user_id and {within(relation)}")
    frame = as_frame(
        read_arrow(
            connection,
            f"select users.user_id, reachable.user_id is not null as {_IS_REACHABLE}{''.join(selected)}"
            f" from {activity_relation} as users"
            f" left join (select distinct user_id from features.eligible_user_channels as channels"
            f" where {within('channels')}) as reachable on reachable.user_id = users.user_id {' '.join(joined)}"
            f" where {within('users')} and users.is_inactive order by users.user_id",
            parameters,
        )
    ).set_index("user_id")
    is_reachable = frame.pop(_IS_REACHABLE).to_numpy(dtype=bool)
    towards = {name: pd.DataFrame(index=frame.index) for name in event_types}
    for relation, names in catalogue.event_columns.items() if event_types else ():
        columns = "".join(f', "{name}"' for name in names)
        rows = as_frame(
            read_arrow(
                connection,
                f"select user_id, event_type{columns} from features.{relation}"
                f" where {within(relation)} and event_type = any(%(event_types)s)",
                parameters,
            )
        )
        for name in event_types:
            part = rows[rows["event_type"] == name].drop(columns="event_type").set_index("user_id")
            towards[name] = towards[name].join(part)
    return UserBatch(frame, towards, is_reachable)


def _read_ahead(read: Callable[[_Item], _Read], items: Iterable[_Item]) -> Iterator[_Read]:
    """Give what `read` makes of each item, reading one item ahead in a thread."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as executor:
        ahead = None
        for item in items:
            coming = executor.submit(read, item)
            if ahead is not None:
                yield ahead.result()
            ahead = coming
        if ahead is not None:
            yield ahead.result()
