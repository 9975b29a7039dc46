"""Reads users of a date in batches of bounded size, the next ones while the last is worked on, and writes behind it."""

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import date
from typing import Any, TypeVar, cast

import pandas as pd
import psycopg
from psycopg import sql

from ml.pipelines.feature_blocks import FeatureReader, UserBatch
from ml.pipelines.reading import FeatureCatalogue, read_in_bulk, require_features, user_ranges
from warehouse.door import Warehouse

__all__ = ["ROWS_PER_BATCH", "UserBatch", "read_ahead", "read_user_batches", "read_users", "write_behind"]

# 65,536 users with 150 features are some 80 MB, which are there twice while the numbers are put into order.
ROWS_PER_BATCH = 65_536
# So many are asked for at once, true to within a few percent: hardly ever more than a batch. What Postgres joins then
# stays small enough for the processor's cache.
ROWS_PER_RANGE = 57_344

_Item = TypeVar("_Item")


def read_user_batches(
    warehouse: Warehouse,
    as_of_date: date,
    event_types: Sequence[str],
    *,
    with_event_features: bool,
    rows: int = ROWS_PER_BATCH,
    relation: str = "features.feat_user_behaviour",
    channels: Sequence[str] = (),
    names: Collection[str] | None = None,
) -> Iterator[UserBatch]:
    """Read every inactive user of a date, at most `rows` at a time, in the warehouse's order of user_id.

    Whose column is_inactive counts is said by `relation`; see `Settings.activity_relation`. `channels` are those that
    are told apart, best first. `names` are those of the features that are read, whatever they belong to; None = all.

    All batches are of one snapshot. Users are asked for in ranges of user_id, which the indexes of the feature tables
    serve: memory is bounded whatever the number of users. Where nobody is inactive there is one empty batch.

    Raises:
        PipelineError: there are no features for the date.
    """
    require_features(warehouse, as_of_date)
    asked = event_types if with_event_features else ()
    catalogue = FeatureCatalogue.read(warehouse)
    features = FeatureReader(catalogue if names is None else catalogue.only(names), as_of_date, asked, channels)
    with closing(warehouse.connect()) as connection, closing(warehouse.connect()) as beside:
        _share_snapshot(connection, beside)
        read_in_bulk(connection)
        count = 0
        for raw in read_ahead(features.raw_blocks(connection, relation, user_ranges(connection, ROWS_PER_RANGE))):
            for batch in features.batches(raw, beside, rows):
                count += 1
                yield _complete(batch, event_types)
        if not count:
            yield _complete(features.nobody(beside), event_types)


def _complete(batch: UserBatch, event_types: Sequence[str]) -> UserBatch:
    """The batch with a frame for each type of event, without columns where none were asked for."""
    missing = {name: pd.DataFrame(index=batch.features.index) for name in event_types}
    return replace(batch, event_features=missing | dict(batch.event_features))


def read_users(warehouse: Warehouse, as_of_date: date, user_ids: Sequence[str]) -> pd.DataFrame:
    """Read the features of some users of a date, active or not, as in `UserBatch`, in the order of `user_ids`.

    A user of whom nothing is known on the date has no value in any of them.
    """
    features = FeatureReader(FeatureCatalogue.read(warehouse), as_of_date, (), ())
    with warehouse.transaction() as connection:
        known = features.of_users(connection, user_ids)
    return known.reindex(pd.Index(user_ids, name="user_id"))


def _share_snapshot(*connections: psycopg.Connection[Any]) -> None:
    """Let connections read what the first one sees."""
    snapshot = ""
    for connection in connections:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        if snapshot:
            connection.execute(sql.SQL("set transaction snapshot {}").format(snapshot))
        else:
            (snapshot,) = connection.execute("select pg_export_snapshot()").fetchone() or ("",)


def read_ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """Give the items, taking the next one in a thread meanwhile."""
    nothing = object()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as executor:
        coming = executor.submit(next, items, nothing)
        while (item := coming.result()) is not nothing:
            coming = executor.submit(next, items, nothing)
            yield cast(_Item, item)


@contextmanager
def write_behind(write: Callable[[_Item], object]) -> Iterator[Callable[[_Item], None]]:
    """Give what hands items to `write`, which takes one after the other in a thread; at most one waits for the last.

    All are written when the block ends. What `write` raises is raised by the next hand-over, or by the end.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="write-behind") as executor:
        going: list[Future[object]] = []

        def hand_over(item: _Item) -> None:
            while going:
                going.pop().result()
            going.append(executor.submit(write, item))

        yield hand_over
        while going:
            going.pop().result()
