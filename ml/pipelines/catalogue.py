"""Finds the feature relations of the warehouse and says how to read them.

Every relation `features.feat_user_<topic>` is found in the catalogue and joined by its grain: a new feature is SQL and
YAML, no Python. Two things make reading cheap, and change nothing of what is read:

- Views that only show columns of one relation are read from it together: it is looked at once.
- Beside `feat_user_<topic>` there may be `known_user_<topic>`, with the same columns but no rows of users of whom
  nothing is known: of all of them the former says the same.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from warehouse.door import Warehouse

__all__ = ["KEYS", "FeatureCatalogue", "PipelineError"]

KEYS = ("user_id", "as_of_date", "event_type")
_NO_FEATURE_SUFFIXES = ("_at", "_date", "_id")
_NUMERIC_TYPES = {"smallint", "integer", "bigint", "numeric", "real", "double precision", "boolean"}
_TEXT_TYPES = {"text", "character varying"}
_RELATIONS = """
    select relations.relname::text as relation, pg_get_viewdef(relations.oid) as definition
    from pg_class as relations
    inner join pg_namespace as schemas on schemas.oid = relations.relnamespace
    where schemas.nspname = 'features' and relations.relname ~ '^(feat|known)_user_'
"""
# How Postgres writes down a view of this project's form that shows some columns of one relation as they are. Before
# version 16 it says of each column whose it is, though there is but one relation.
_PROJECTION = re.compile(
    r" WITH (?P<name>\w+) AS \(\s+SELECT (?P<shown>[\w.,\s]+?)\s+FROM features\.(?P<source>\w+)\s+\)"
    r"\s+SELECT (?P<selected>[\w.,\s]+?)\s+FROM (?P=name);"
)


class PipelineError(RuntimeError):
    """A stage cannot run on what is in the warehouse; the message says what to do."""


@dataclass(frozen=True)
class FeatureCatalogue:
    """The feature relations and their feature columns, in a fixed order.

    Attributes:
        user_columns: columns by relation of grain (user_id, as_of_date).
        event_columns: columns by relation of grain (user_id, as_of_date, event_type).
        kinds: Postgres type of each column.
        shown_of: for relations that only show columns of another one, which one that is.
        known: for relations beside which there is a `known_user_<topic>`, its name.
    """

    user_columns: dict[str, list[str]]
    event_columns: dict[str, list[str]]
    kinds: dict[str, str]
    shown_of: Mapping[str, str] = field(default_factory=dict)
    known: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, warehouse: Warehouse) -> "FeatureCatalogue":
        """Look up what feature relations there are.

        Raises:
            PipelineError: there are none, or two of them have a column of the same name.
        """
        columns = warehouse.read_frame(
            "select table_name::text as relation, column_name::text as name, data_type::text as kind"
            " from information_schema.columns where table_schema = 'features' and table_name like 'feat\\_user\\_%'"
            " order by table_name, ordinal_position"
        )
        user_columns: dict[str, list[str]] = {}
        event_columns: dict[str, list[str]] = {}
        owners: dict[str, str] = {}
        kinds: dict[str, str] = {}
        for relation, group in columns.groupby("relation", sort=True):
            target = event_columns if "event_type" in set(group["name"]) else user_columns
            target[str(relation)] = []
            for name, kind in zip(group["name"], group["kind"], strict=True):
                if name in KEYS or name.startswith("_") or name.endswith(_NO_FEATURE_SUFFIXES):
                    continue
                if kind not in _NUMERIC_TYPES | _TEXT_TYPES:
                    continue
                if name in owners:
                    raise PipelineError(
                        f"features.{relation} and features.{owners[name]} both have a column {name}: rename one."
                    )
                owners[name] = str(relation)
                kinds[name] = str(kind)
                target[str(relation)].append(str(name))
        if not user_columns:
            raise PipelineError("There are no feature tables (features.feat_user_...): run build_features first.")
        definitions = warehouse.read_frame(_RELATIONS).set_index("relation")["definition"].fillna("")
        relations = dict.fromkeys(owners.values())
        shown_of = {name: source for name in relations if (source := _shown_of(definitions[name]))}
        known = {name: other for name in relations if (other := name.replace("feat_", "known_", 1)) in definitions}
        return cls(user_columns, event_columns, kinds, shown_of, known)

    def only(self, names: Collection[str]) -> "FeatureCatalogue":
        """Return the catalogue with the features of these names alone, and the relations that have any of them."""

        def some_of(relations: Mapping[str, list[str]]) -> dict[str, list[str]]:
            kept = {relation: [name for name in columns if name in names] for relation, columns in relations.items()}
            return {relation: columns for relation, columns in kept.items() if columns}

        return replace(self, user_columns=some_of(self.user_columns), event_columns=some_of(self.event_columns))

    @property
    def user_names(self) -> list[str]:
        """Names of the user features, in order."""
        return [name for names in self.user_columns.values() for name in names]

    @property
    def event_names(self) -> list[str]:
        """Names of the features towards a type of event, in order."""
        return [name for names in self.event_columns.values() for name in names]

    def is_text(self, name: str) -> bool:
        """Whether a feature is a text; all others are numbers or truth values."""
        return self.kinds[name] in _TEXT_TYPES

    def as_number(self, name: str, column: str) -> str:
        """Return an expression for a feature, given that for its column, that can be cast to double precision."""
        return f"cast({column} as integer)" if self.kinds[name] == "boolean" else column

    def joins(self, keys: str, *, with_event_features: bool) -> tuple[str, str]:
        """Return the select list and the joins that add the features to a relation `keys` of the same grain."""
        parts: list[tuple[Mapping[str, list[str]], tuple[str, ...]]] = [(self.user_columns, KEYS[:2])]
        if with_event_features:
            parts.append((self.event_columns, KEYS))
        selected, joined = [], []
        for relations, grain in parts:
            for relation, names in relations.items():
                selected += [f'{self.shown_of.get(relation, relation)}."{name}"' for name in names]
            for source, names in self.together(relations).items():
                columns = ", ".join(f'"{name}"' for name in names)
                conditions = " and ".join(f"{source}.{key} = {keys}.{key}" for key in grain)
                # Looked up one by one: joined as a whole the views would be computed for all users and dates there are.
                looked_up = f"select {columns} from features.{source} where {conditions} offset 0"
                joined.append(f"left join lateral ({looked_up}) as {source} on true")
        return "".join(f", {column}" for column in selected), "\n".join(joined)

    def together(self, relations: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Return the columns of relations by what they are read from: what shows columns of one relation is one."""
        found: dict[str, list[str]] = {}
        for relation, names in relations.items():
            found.setdefault(self.shown_of.get(relation, relation), []).extend(names)
        return found


def _shown_of(definition: str) -> str | None:
    """Return the relation of which a view shows columns as they are, None where it does anything else."""
    found = _PROJECTION.fullmatch(definition)
    if found is None:
        return None
    shown, selected = (re.split(r",\s*", found[part]) for part in ("shown", "selected"))
    columns = [column.removeprefix(f"{found['name']}.") for column in selected]
    return found["source"] if shown == [f"{found['source']}.{column}" for column in columns] else None
