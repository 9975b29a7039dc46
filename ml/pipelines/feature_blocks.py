"""Reads features of whole ranges of users, everything that is known of a user in one row of one query."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from ml.pipelines.catalogue import FeatureCatalogue
from ml.pipelines.channels import BEST_PLACE, WHO_AGREED, channels_at
from ml.pipelines.friends import FRIEND_SUMS, SEEN_OF_FRIENDS
from warehouse.blocks import Block, RawBlock, read_block, read_raw_block

__all__ = ["FeatureReader", "UserBatch"]

# What is selected before the features: whether the user may be reached and where, what was seen of the user's friends,
# then who is unknown to a topic.
_COLUMNS_BEFORE = 2 + len(FRIEND_SUMS)


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
        friend_sums: what was seen of the user's friends, `FRIEND_SUMS`, float64 of shape (users, 3), NaN for nothing.
    """

    features: pd.DataFrame
    event_features: Mapping[str, pd.DataFrame]
    is_reachable: np.ndarray
    channels: np.ndarray
    friend_sums: np.ndarray


class RawUsers(NamedTuple):
    """Users of a range as they arrived, and by relation what they did towards types of events."""

    users: RawBlock
    towards: Mapping[str, RawBlock]


class _Lines(NamedTuple):
    """What users did towards types of events, a line a user and type.

    Attributes:
        users: which user it is, int64 of shape (lines,).
        values: place of the type, then the features, float64 of shape (lines, 1 + features).
    """

    users: np.ndarray
    values: np.ndarray


class FeatureReader:
    """What is read of users: which columns, of which date, and towards which types of events.

    Args:
        catalogue: the feature relations there are.
        as_of_date: the date.
        event_types: types towards which features are read.
        channels: channels that are told apart, best first.
    """

    def __init__(
        self, catalogue: FeatureCatalogue, as_of_date: date, event_types: Sequence[str], channels: Sequence[str]
    ) -> None:
        self._catalogue = catalogue
        self._event_types, self._channels = tuple(event_types), tuple(channels)
        self._parameters = {
            "as_of_date": as_of_date,
            "event_types": list(self._event_types),
            "channels": list(self._channels),
        }
        names = catalogue.user_names
        self._texts = [name for name in names if catalogue.is_text(name)]
        self._numbers = [name for name in names if not catalogue.is_text(name)]
        # Those beside which there is a relation without the users of whom nothing is known.
        self._partial = [name for name in catalogue.user_columns if name in catalogue.known]
        self._unknown: dict[tuple[str, str], dict[str, Any]] = {}

    def raw_blocks(
        self, connection: psycopg.Connection[Any], relation: str, ranges: Iterable[tuple[str, str | None]]
    ) -> Iterator[RawUsers]:
        """Read inactive users of ranges of user_id, in any order within a range.

        Whose column is_inactive counts is said by `relation`. `batches` makes users of what arrived: that can be done
        while the next is read.
        """
        topic = relation.removeprefix("features.")
        read_from = f"features.{self._catalogue.shown_of[topic]}" if topic in self._catalogue.shown_of else relation
        for first, following in ranges:

            def within(name: str, following: str | None = following) -> str:
                # The range stands at every relation: Postgres does not carry it over from one to the next by itself.
                end = "" if following is None else f" and {name}.user_id < %(next)s"
                return f"{name}.user_id >= %(first)s{end}"

            asked = self._of_users(f"{read_from} as users", within, self._partial)
            asked["source"] += f" where users.as_of_date = %(as_of_date)s and users.is_inactive and {within('users')}"
            parameters = {**self._parameters, "first": first, "next": following}
            yield RawUsers(
                read_raw_block(connection, parameters=parameters, **asked),
                {
                    name: read_raw_block(connection, parameters=parameters, **self._towards_events(name, within))
                    for name in self._event_columns()
                },
            )

    def batches(self, raw: RawUsers, beside: psycopg.Connection[Any], rows: int) -> Iterator[UserBatch]:
        """Make users of a range, sorted by user_id, at most `rows` at a time; nothing where there is nobody.

        What holds of users of whom nothing is known is asked by the connection `beside`: one that is not reading.
        """
        found = raw.users.block(sorted_by="users.user_id")
        lines = {name: _lines(towards, found.texts["users.user_id"]) for name, towards in raw.towards.items()}
        for start in range(0, len(found.numbers), rows):
            end = start + rows
            inside = {name: (part.users >= start) & (part.users < end) for name, part in lines.items()}
            of_part = {
                name: _Lines(part.users[inside[name]] - start, part.values[inside[name]])
                for name, part in lines.items()
            }
            yield self._batch(found.part(start, end), of_part, self._partial, beside)

    def nobody(self, beside: psycopg.Connection[Any]) -> UserBatch:
        """Return a batch without users."""
        texts = {name: pa.array([], pa.string()) for name in ("user_id", *self._texts)}
        lines = {
            name: _Lines(np.zeros(0, dtype=np.int64), np.zeros((0, 1 + len(names))))
            for name, names in self._event_columns().items()
        }
        return self._batch(Block(np.zeros((0, _COLUMNS_BEFORE + len(self._numbers))), texts), lines, (), beside)

    def of_users(self, connection: psycopg.Connection[Any], user_ids: Sequence[str]) -> pd.DataFrame:
        """Read the features of some users, each looked up, in any order; who has no row has no values."""
        selected, joined = self._catalogue.joins("users", with_event_features=False)
        column = dict(zip(self._catalogue.user_names, selected.removeprefix(", ").split(", "), strict=True))
        block = read_block(
            connection,
            "from (select user_id, cast(%(as_of_date)s as date) as as_of_date"
            f" from unnest(%(user_ids)s::text[]) as asked (user_id)) as users {joined}",
            {**self._parameters, "user_ids": list(user_ids)},
            numbers=["0"] * _COLUMNS_BEFORE + [self._catalogue.as_number(name, column[name]) for name in self._numbers],
            texts=["users.user_id", *(column[name] for name in self._texts)],
        )
        return self._features(block, (), connection)

    def _event_columns(self) -> Mapping[str, list[str]]:
        return self._catalogue.event_columns if self._event_types else {}

    def _of_users(self, users: str, within: Callable[[str], str], partial: Sequence[str]) -> dict[str, Any]:
        """What to read of a relation called users: arguments of `read_block`.

        `within` is the condition that a row of a relation is about one of them; `partial` are the relations that are
        read without the users of whom nothing is known.
        """
        read_from = {
            name: self._catalogue.known[name] if name in partial else self._catalogue.shown_of.get(name, name)
            for name in self._catalogue.user_columns
        }
        # The relation that says who is inactive is most often one of those with features.
        alias = {source: "users" if users == f"features.{source} as users" else source for source in read_from.values()}
        column = {
            name: f'{alias[read_from[relation]]}."{name}"'
            for relation, names in self._catalogue.user_columns.items()
            for name in names
        }
        joined = [
            f" left join features.{source} on {source}.user_id = users.user_id"
            f" and {source}.as_of_date = %(as_of_date)s and {within(source)}"
            for source in alias
            if alias[source] == source
        ]
        agreed, place = f"{WHO_AGREED} and {within('granted')}", "0"
        if self._channels:
            agreed = f"{BEST_PLACE} and {within('granted')} group by granted.user_id"
            place = "coalesce(reachable.place, 0)"
        reachable = f" left join ({agreed}) as reachable on reachable.user_id = users.user_id"
        seen = f"{SEEN_OF_FRIENDS} and {within('friends')}"
        friends = f" left join ({seen}) as friends on friends.user_id = users.user_id"
        return {
            "source": f"from {users}{reachable}{friends}{''.join(joined)}",
            "numbers": [
                "cast(reachable.user_id is not null as integer)",
                place,
                *(f"friends.{name}" for name in FRIEND_SUMS),
                *(f"cast({alias[read_from[name]]}.user_id is null as integer)" for name in partial),
                *(self._catalogue.as_number(name, column[name]) for name in self._numbers),
            ],
            "texts": ["users.user_id", *(column[name] for name in self._texts)],
        }

    def _towards_events(self, relation: str, within: Callable[[str], str]) -> dict[str, Any]:
        """What to read of what users did towards types of events: arguments of `read_block`.

        It is not joined to the users there: each user would bring a table, and to make those takes longer than to find
        the users of the lines.
        """
        return {
            "source": f"from features.{self._catalogue.known.get(relation, relation)} as towards"
            f" where as_of_date = %(as_of_date)s and event_type = any(%(event_types)s) and {within('towards')}",
            "numbers": [
                "array_position(%(event_types)s, event_type) - 1",
                *(self._catalogue.as_number(name, name) for name in self._catalogue.event_columns[relation]),
            ],
            "texts": ["towards.user_id"],
        }

    def _batch(
        self, block: Block, lines: Mapping[str, _Lines], partial: Sequence[str], beside: psycopg.Connection[Any]
    ) -> UserBatch:
        features = self._features(block, partial, beside)
        blocks = [self._towards(relation, part, features.index, beside) for relation, part in lines.items()]
        names = self._catalogue.event_names
        joined = np.concatenate(blocks, axis=2) if blocks else np.zeros((len(self._event_types), len(features), 0))
        towards = {
            event_type: pd.DataFrame(part, index=features.index, columns=names, copy=False)
            for event_type, part in zip(self._event_types, joined, strict=True)
        }
        is_reachable, place = block.numbers[:, 0] != 0, block.numbers[:, 1]
        friend_sums = block.numbers[:, 2:_COLUMNS_BEFORE]
        return UserBatch(features, towards, is_reachable, channels_at(self._channels, place), friend_sums)

    def _features(self, block: Block, partial: Sequence[str], beside: psycopg.Connection[Any]) -> pd.DataFrame:
        numbers = block.numbers[:, _COLUMNS_BEFORE + len(partial) :]
        user_ids, *words = block.texts.values()
        texts = dict(zip(self._texts, words, strict=True))
        place = {name: position for position, name in enumerate(self._numbers)}
        for position, relation in enumerate(partial):
            is_unknown = block.numbers[:, _COLUMNS_BEFORE + position] != 0
            if is_unknown.any():
                of_all = self._of_unknown(beside, relation, user_ids[int(is_unknown.argmax())].as_py())
                for name, value in of_all.items():
                    if name in place:
                        numbers[is_unknown, place[name]] = value
                    elif value is not None:
                        texts[name] = pc.if_else(pa.array(is_unknown), value, texts[name])
        index = pd.Index(user_ids.to_pandas(), name="user_id")
        features = pd.DataFrame(numbers, index=index, columns=self._numbers, copy=False)
        for name, column in texts.items():
            features[name] = column.dictionary_encode().to_pandas().array
        return features

    def _towards(self, relation: str, lines: _Lines, user_ids: pd.Index, beside: psycopg.Connection[Any]) -> np.ndarray:
        """Features of a relation towards each type of event, (types, users, features)."""
        names = self._catalogue.event_columns[relation]
        towards = np.full((len(self._event_types), len(user_ids), len(names)), np.nan)
        types = lines.values[:, 0].astype(np.int64)
        if relation in self._catalogue.known:
            is_unknown = np.ones(towards.shape[:2], dtype=bool)
            is_unknown[types, lines.users] = False
            for event_type, part, unknown in zip(self._event_types, towards, is_unknown, strict=True):
                if unknown.any():
                    of_all = self._of_unknown(beside, relation, user_ids[int(unknown.argmax())], event_type)
                    part[:] = [of_all[name] for name in names]
        towards[types, lines.users] = lines.values[:, 1:]
        return towards

    def _of_unknown(
        self, connection: psycopg.Connection[Any], relation: str, user_id: str, event_type: str = ""
    ) -> dict[str, Any]:
        """What a relation says of all users of whom nothing is known (towards a type), as it says it of one of them."""
        if (relation, event_type) not in self._unknown:
            columns = {**self._catalogue.user_columns, **self._catalogue.event_columns}[relation]
            numbers = [name for name in columns if not self._catalogue.is_text(name)]
            texts = [name for name in columns if self._catalogue.is_text(name)]
            block = read_block(
                connection,
                f"from features.{relation} where as_of_date = %(as_of_date)s and user_id = %(user_id)s"
                + (" and event_type = %(event_type)s" if event_type else ""),
                {**self._parameters, "user_id": user_id, "event_type": event_type},
                numbers=[self._catalogue.as_number(name, f'"{name}"') for name in numbers],
                texts=[f'"{name}"' for name in texts],
            )
            found: dict[str, Any] = dict.fromkeys(numbers, np.nan) | dict.fromkeys(texts)
            if len(block.numbers):
                words = [column[0].as_py() for column in block.texts.values()]
                found |= dict(zip(numbers, block.numbers[0], strict=True)) | dict(zip(texts, words, strict=True))
            self._unknown[relation, event_type] = found
        return self._unknown[relation, event_type]


def _lines(towards: RawBlock, user_ids: pa.Array) -> _Lines:
    """Lines of those of the users who are there; others in the range are active."""
    block = towards.block()
    (known,) = block.texts.values()
    place = pc.index_in(known, value_set=user_ids)
    is_there = pc.is_valid(place).to_numpy(zero_copy_only=False)
    return _Lines(place.drop_null().to_numpy().astype(np.int64), block.numbers[is_there])
