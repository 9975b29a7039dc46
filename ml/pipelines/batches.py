"""Reads users of a date in batches of bounded size, the next ones while the last is worked on."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import psycopg

from ml.pipelines.reading import FeatureCatalogue, PipelineError, require_features
from warehouse.blocks import read_block
from warehouse.door import Warehouse

__all__ = ["ROWS_PER_BATCH", "UserBatch", "read_user_batches", "read_users"]

# 65,536 users with 150 features are some 80 MB, which are read twice as the numbers are put into order.
ROWS_PER_BATCH = 65_536

_Item = TypeVar("_Item")
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class UserBatch:
    """Some users of a date.

    Attributes:
        features: user features, index user_id: numbers and truth values as float64 (NaN for missing), texts as
            categories.
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
    features = _Features(FeatureCatalogue.read(warehouse), as_of_date, event_types if with_event_features else ())
    with closing(warehouse.connect()) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        # How many rows of a view lie in a range the planner cannot know; guessing few it would look each of them up.
        connection.execute("set local enable_nestloop = off")
        starts = _starts(connection, relation, as_of_date, rows)

        def read(limits: tuple[str, str | None]) -> UserBatch:
            is_asked = f"users.is_inactive and {_within('users', limits)}"
            users = f"{relation} as users where users.as_of_date = %(as_of_date)s and {is_asked}"
            return features.read(
                connection, users, lambda name: _within(name, limits), {"first": limits[0], "next": limits[1]}
            )

        ranges = list(zip(starts, [*starts[1:], None], strict=True)) if starts else [("", "")]
        for batch in _read_ahead(read, ranges):
            missing = {name: pd.DataFrame(index=batch.features.index) for name in event_types}
            yield UserBatch(batch.features, missing | dict(batch.event_features), batch.is_reachable)


def read_users(warehouse: Warehouse, as_of_date: date, user_ids: Sequence[str]) -> pd.DataFrame:
    """Read the features of some users of a date, active or not, as in `UserBatch`, in the order of `user_ids`.

    A user of whom nothing is known on the date has no value in any of them.
    """
    features = _Features(FeatureCatalogue.read(warehouse), as_of_date, ())
    asked = "unnest(%(user_ids)s::text[]) as users (user_id)"
    with warehouse.transaction() as connection:
        batch = features.read(
            connection, asked, lambda name: f"{name}.user_id = any(%(user_ids)s)", {"user_ids": list(user_ids)}
        )
    return batch.features.reindex(pd.Index(user_ids, name="user_id"))


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

    def __init__(self, catalogue: FeatureCatalogue, as_of_date: date, event_types: Sequence[str]) -> None:
        self.catalogue = catalogue
        self.as_of_date = as_of_date
        self.event_types = tuple(event_types)
        names = catalogue.user_names
        self.texts = [name for name in names if catalogue.is_text(name)]
        self.numbers = [name for name in names if name not in self.texts]
        self.relation_of = {name: table for table, names in catalogue.user_columns.items() for name in names}

    def read(
        self,
        connection: psycopg.Connection[Any],
        users: str,
        within: Callable[[str], str],
        parameters: dict[str, Any],
    ) -> UserBatch:
        """Read users.

        Args:
            connection: whose transaction it is read in.
            users: the users asked for, what follows `from`: a relation called users, and which of them.
            within: condition that a row of a relation is about one of them. It stands at every relation, because
                Postgres does not carry it over from one to the next by itself.
            parameters: of both.
        """
        parameters = {**parameters, "as_of_date": self.as_of_date, "event_types": list(self.event_types)}
        relation, _, condition = users.partition(" where ")
        joined = [
            f"left join features.{name} on {name}.user_id = users.user_id"
            f" and {name}.as_of_date = %(as_of_date)s and {within(name)}"
            for name in self.catalogue.user_columns
        ]
        numbers, texts = read_block(
            connection,
            f"from {relation} left join (select distinct user_id from features.eligible_user_channels as channels"
            f" where channels.as_of_date = %(as_of_date)s and {within('channels')}) as reachable"
            f" on reachable.user_id = users.user_id {' '.join(joined)}"
            f"{f' where {condition}' if condition else ''} order by users.user_id",
            parameters,
            numbers=[
                *_key("users"),
                "cast(reachable.user_id is not null as integer)",
                *(self._number(self.relation_of[name], name) for name in self.numbers),
            ],
            texts=["users.user_id", *(f'{self.relation_of[name]}."{name}"' for name in self.texts)],
        )
        user_ids, *words = texts.values()
        index = pd.Index(user_ids.to_pandas(), name="user_id")
        features = pd.DataFrame(numbers[:, 3:], index=index, columns=self.numbers, copy=False)
        for name, column in zip(self.texts, words, strict=True):
            features[name] = column.dictionary_encode().to_pandas().array
        towards = self._towards(connection, within, parameters, _keys(numbers), index) if self.event_types else {}
        return UserBatch(features, towards, numbers[:, 2] != 0)

    def _towards(
        self,
        connection: psycopg.Connection[Any],
        within: Callable[[str], str],
        parameters: dict[str, Any],
        keys: np.ndarray,
        index: pd.Index,
    ) -> dict[str, pd.DataFrame]:
        """Features of users, told by their keys, towards each type of event."""
        order = np.argsort(keys, kind="stable")
        if (np.diff(keys[order]) == 0).any():
            raise PipelineError("Two users have the same 64-bit key, which one batch in ten billion has: run it again.")
        blocks: list[np.ndarray] = []
        for relation, names in self.catalogue.event_columns.items():
            numbers, _ = read_block(
                connection,
                f"from features.{relation} where as_of_date = %(as_of_date)s and {within(relation)}"
                " and event_type = any(%(event_types)s)",
                parameters,
                numbers=[
                    *_key(relation),
                    "array_position(%(event_types)s, event_type) - 1",
                    *(self._number(relation, name) for name in names),
                ],
                texts=[],
            )
            block = np.full((len(self.event_types), len(keys), len(names)), np.nan)
            found = _keys(numbers)
            place = order[np.minimum(np.searchsorted(keys, found, sorter=order), len(keys) - 1)] if len(keys) else order
            ours = np.flatnonzero(keys[place] == found) if len(keys) else order
            block[numbers[ours, 2].astype(np.int64), place[ours]] = numbers[ours, 3:]
            blocks.append(block)
        names = self.catalogue.event_names
        joined = np.concatenate(blocks, axis=2) if blocks else np.zeros((len(self.event_types), len(keys), 0))
        return {
            event_type: pd.DataFrame(part, index=index, columns=names, copy=False)
            for event_type, part in zip(self.event_types, joined, strict=True)
        }

    def _number(self, relation: str, name: str) -> str:
        """A feature as an expression that can be cast to double precision."""
        column = f'{relation}."{name}"'
        return f"cast({column} as integer)" if self.catalogue.kinds[name] == "boolean" else column


def _key(relation: str) -> tuple[str, str]:
    """Expressions for the two halves of a 64-bit hash of the user: numbers are compared faster than texts are read."""
    hashed = f"hashtextextended({relation}.user_id, 0)"
    return f"{hashed} >> 32", f"{hashed} & 4294967295"


def _keys(numbers: np.ndarray) -> np.ndarray:
    """The hashes, int64, from numbers that begin with what `_key` selects."""
    return (numbers[:, 0].astype(np.int64) << 32) + numbers[:, 1].astype(np.int64)


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
