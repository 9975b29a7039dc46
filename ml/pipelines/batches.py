"""Reads users of a date in batches of bounded size, the next ones while the last is worked on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
from psycopg import sql

from ml.pipelines.channels import BEST_PLACE, channels_at
from ml.pipelines.reading import FeatureCatalogue, PipelineError, require_features
from warehouse.blocks import Block, read_block, read_blocks
from warehouse.door import Warehouse

__all__ = ["ROWS_PER_BATCH", "UserBatch", "read_user_batches", "read_users"]

# 65,536 users with 150 features are some 80 MB, which are there twice while the numbers are put into order.
ROWS_PER_BATCH = 65_536
# So many are asked for at once: some views go through all users in every query, sorting a few more costs less.
_ROWS_PER_RANGE = 262_144

# What `_columns` selects before the features: the two halves of the key, whether the user may be reached, and where.
_COLUMNS_BEFORE = 4

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class UserBatch:
    """Some users of a date.

    Attributes:
        features: user features, index user_id: numbers and truth values as float64 (NaN for missing), texts as
            categories.
        event_features: features of the same users towards each type of event asked for, same index; frames without
            columns where they were not asked for.
        is_reachable: bool, shape (users,): may be contacted over at least one channel.
        channels: the first of the channels asked for that the user agreed to and that is not suppressed, "" for none,
            object of shape (users,).
    """

    features: pd.DataFrame
    event_features: Mapping[str, pd.DataFrame]
    is_reachable: np.ndarray
    channels: np.ndarray


def read_user_batches(
    warehouse: Warehouse,
    as_of_date: date,
    event_types: Sequence[str],
    *,
    with_event_features: bool,
    rows: int = ROWS_PER_BATCH,
    relation: str = "features.feat_user_behaviour",
    channels: Sequence[str] = (),
) -> Iterator[UserBatch]:
    """Read every inactive user of a date, at most `rows` at a time, in the warehouse's order of user_id.

    Whose column is_inactive counts is said by `relation`; see `Settings.activity_relation`. `channels` are those that
    are told apart, best first.

    All batches are of one snapshot. Each is a range of user_id, which the indexes of the feature tables serve: memory
    and sorting are bounded whatever the number of users. Where nobody is inactive there is one empty batch.

    Raises:
        PipelineError: there are no features for the date.
    """
    require_features(warehouse, as_of_date)
    asked = event_types if with_event_features else ()
    features = _Features(FeatureCatalogue.read(warehouse), as_of_date, asked, channels)
    with closing(warehouse.connect()) as connection, closing(warehouse.connect()) as beside:
        _share_snapshot(connection, beside)
        starts = _starts(connection, relation, as_of_date, _ROWS_PER_RANGE)
        ranges = list(zip(starts, [*starts[1:], None], strict=True)) if starts else []
        for batch in _read_ahead(features.batches(connection, beside, relation, ranges, rows)):
            missing = {name: pd.DataFrame(index=batch.features.index) for name in event_types}
            yield replace(batch, event_features=missing | dict(batch.event_features))


def read_users(warehouse: Warehouse, as_of_date: date, user_ids: Sequence[str]) -> pd.DataFrame:
    """Read the features of some users of a date, active or not, as in `UserBatch`, in the order of `user_ids`.

    A user of whom nothing is known on the date has no value in any of them.
    """
    features = _Features(FeatureCatalogue.read(warehouse), as_of_date, (), ())
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
        # How many rows of a view lie in a range the planner cannot know; guessing few, it would look up each.
        connection.execute("set local enable_nestloop = off")
        # Several processes take twice the processor time for these joins, and others have work for it.
        connection.execute("set local max_parallel_workers_per_gather = 0")


def _within(relation: str, limits: tuple[str, str | None]) -> str:
    """Condition that a row of a relation lies in a range of user_id."""
    end = "" if limits[1] is None else f" and {relation}.user_id < %(next)s"
    return f"{relation}.user_id >= %(first)s{end}"


def _starts(connection: psycopg.Connection[Any], relation: str, as_of_date: date, rows: int) -> list[str]:
    """First user of every batch."""
    found = connection.execute(
        "select user_id from (select user_id, row_number() over (order by user_id) - 1 as position"
        f" from {relation} where as_of_date = %s and is_inactive) as numbered"
        " where position %% %s = 0 order by user_id",
        (as_of_date, rows),
    )
    return [row[0] for row in found.fetchall()]


class _Features:
    """What is read of users: which columns, of which date, and towards which types of events."""

    def __init__(
        self, catalogue: FeatureCatalogue, as_of_date: date, event_types: Sequence[str], channels: Sequence[str]
    ) -> None:
        self.catalogue = catalogue
        self.event_types, self.channels = tuple(event_types), tuple(channels)
        self.parameters = {
            "as_of_date": as_of_date,
            "event_types": list(self.event_types),
            "channels": list(self.channels),
        }
        names = catalogue.user_names
        self.texts = [name for name in names if catalogue.is_text(name)]
        self.numbers = [name for name in names if name not in self.texts]

    def batches(
        self,
        connection: psycopg.Connection[Any],
        beside: psycopg.Connection[Any],
        relation: str,
        ranges: Sequence[tuple[str, str | None]],
        rows: int,
    ) -> Iterator[UserBatch]:
        """Read inactive users of ranges of user_id, at most `rows` at a time; one empty batch where there is nobody.

        What they did towards types of events is read by the connection `beside`, as the first one is busy.
        """
        count = 0
        for first, following in ranges:

            def within(name: str, limits: tuple[str, str | None] = (first, following)) -> str:
                # The range stands at every relation: Postgres does not carry it over from one to the next by itself.
                return _within(name, limits)

            columns = self._columns(f"{relation} as users", within)
            columns["source"] += f" where users.as_of_date = %(as_of_date)s and users.is_inactive and {within('users')}"
            columns["source"] += " order by users.user_id"
            parameters = {**self.parameters, "first": first, "next": following}
            for block in read_blocks(connection, parameters=parameters, rows=rows, **columns):
                count += 1
                yield self._batch(block, beside)
        if not count:
            nobody = np.zeros((0, _COLUMNS_BEFORE + len(self.numbers)))
            yield self._batch((nobody, {name: pa.array([], pa.string()) for name in ("user_id", *self.texts)}), beside)

    def of_users(self, connection: psycopg.Connection[Any], user_ids: Sequence[str]) -> pd.DataFrame:
        """Features of some users, in any order."""
        parameters = {**self.parameters, "user_ids": list(user_ids)}
        asked = "unnest(%(user_ids)s::text[]) as users (user_id)"
        columns = self._columns(asked, lambda name: f"{name}.user_id = any(%(user_ids)s)")
        return self._features(read_block(connection, parameters=parameters, **columns))

    def _columns(self, users: str, within: Callable[[str], str]) -> dict[str, Any]:
        """What to read of a relation called users: arguments of `read_blocks`.

        `within` is the condition that a row of a relation is about one of them.
        """
        # The relation that says who is inactive is most often one of those with features.
        alias = {
            name: "users" if users == f"features.{name} as users" else name for name in self.catalogue.user_columns
        }
        column = {
            name: f'{alias[relation]}."{name}"'
            for relation, names in self.catalogue.user_columns.items()
            for name in names
        }
        joined = [
            f"left join features.{name} on {name}.user_id = users.user_id"
            f" and {name}.as_of_date = %(as_of_date)s and {within(name)}"
            for name in alias
            if alias[name] == name
        ]
        reachable = (
            f"left join ({BEST_PLACE} and {within('granted')} group by granted.user_id) as reachable"
            " on reachable.user_id = users.user_id"
        )
        return {
            "source": f"from {users} {reachable} {' '.join(joined)}",
            "numbers": [
                *_key("users"),
                "cast(reachable.user_id is not null as integer)",
                "coalesce(reachable.place, 0)",
                *(self._number(column[name], name) for name in self.numbers),
            ],
            "texts": ["users.user_id", *(column[name] for name in self.texts)],
        }

    def _features(self, block: Block) -> pd.DataFrame:
        numbers, texts = block
        user_ids, *words = texts.values()
        index = pd.Index(user_ids.to_pandas(), name="user_id")
        features = pd.DataFrame(numbers[:, _COLUMNS_BEFORE:], index=index, columns=self.numbers, copy=False)
        for name, column in zip(self.texts, words, strict=True):
            features[name] = column.dictionary_encode().to_pandas().array
        return features

    def _batch(self, block: Block, beside: psycopg.Connection[Any]) -> UserBatch:
        features = self._features(block)
        towards = self._towards(beside, _keys(block[0]), features.index) if self.event_types else {}
        return UserBatch(features, towards, block[0][:, 2] != 0, channels_at(self.channels, block[0][:, 3]))

    def _towards(
        self, connection: psycopg.Connection[Any], keys: np.ndarray, index: pd.Index
    ) -> dict[str, pd.DataFrame]:
        """Features of users, told by their keys, towards each type of event."""
        order = np.argsort(keys, kind="stable")
        if (np.diff(keys[order]) == 0).any():
            raise PipelineError("Two users have the same 64-bit key, which one batch in ten billion has: run it again.")
        limits = {"first": index[0], "last": index[-1]} if len(index) else {"first": "", "last": ""}
        blocks: list[np.ndarray] = []
        for relation, names in self.catalogue.event_columns.items():
            numbers, _ = read_block(
                connection,
                f"from features.{relation} where as_of_date = %(as_of_date)s"
                " and user_id between %(first)s and %(last)s and event_type = any(%(event_types)s)",
                {**self.parameters, **limits},
                numbers=[
                    *_key(relation),
                    "array_position(%(event_types)s, event_type) - 1",
                    *(self._number(f'"{name}"', name) for name in names),
                ],
                texts=[],
            )
            block = np.full((len(self.event_types), len(keys), len(names)), np.nan)
            found = _keys(numbers)
            if len(keys):
                place = order[np.minimum(np.searchsorted(keys, found, sorter=order), len(keys) - 1)]
                ours = np.flatnonzero(keys[place] == found)
                block[numbers[ours, 2].astype(np.int64), place[ours]] = numbers[ours, 3:]
            blocks.append(block)
        names = self.catalogue.event_names
        joined = np.concatenate(blocks, axis=2) if blocks else np.zeros((len(self.event_types), len(keys), 0))
        return {
            event_type: pd.DataFrame(part, index=index, columns=names, copy=False)
            for event_type, part in zip(self.event_types, joined, strict=True)
        }

    def _number(self, column: str, name: str) -> str:
        """A feature as an expression that can be cast to double precision."""
        return f"cast({column} as integer)" if self.catalogue.kinds[name] == "boolean" else column


def _key(relation: str) -> tuple[str, str]:
    """Expressions for the two halves of a 64-bit hash of the user: numbers are compared faster than texts are read."""
    hashed = f"hashtextextended({relation}.user_id, 0)"
    return f"{hashed} >> 32", f"{hashed} & 4294967295"


def _keys(numbers: np.ndarray) -> np.ndarray:
    """The hashes, int64, from numbers that begin with what `_key` selects."""
    return (numbers[:, 0].astype(np.int64) << 32) + numbers[:, 1].astype(np.int64)


def _read_ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """Give the items, taking the next one in a thread meanwhile."""
    nothing = object()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as executor:
        coming = executor.submit(next, items, nothing)
        while (item := coming.result()) is not nothing:
            coming = executor.submit(next, items, nothing)
            yield cast(_Item, item)
