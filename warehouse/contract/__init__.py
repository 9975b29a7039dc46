"""The source contract: one YAML file a table, from which landing, raw tables, dbt sources and docs are derived."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml

__all__ = ["ColumnContract", "ContractError", "TableContract", "load_contract", "read_table"]

FOLDER = Path(__file__).parent

# Contract type -> type of the column in raw.<table>. Six decimals hold cents and the price of one impression.
POSTGRES_TYPES = {
    "text": "text",
    "timestamptz": "timestamptz",
    "integer": "bigint",
    "numeric": "numeric(24, 6)",
    "float": "double precision",
    "boolean": "boolean",
    # Kept as it came; jsonb would reorder keys, and a row received again could not be told from a changed one.
    "json": "json",
}


class ContractError(ValueError):
    """A YAML file of the contract is wrong; the message names the file and what is allowed."""


@dataclass(frozen=True)
class ColumnContract:
    """What one column of a source table may hold.

    Attributes:
        name: name of the column.
        type: text, timestamptz, integer, numeric, float, boolean or json (an object).
        description: what it means, for the data dictionary.
        nullable: whether it may be empty, or absent from the file.
        allowed: the words it may hold; empty where any will do.
        pattern: regular expression the whole value matches (RE2), and `wanted`, the same for people.
        minimum, maximum: smallest and greatest number, both allowed.
        above, below: limits that are not allowed themselves.
        after: a column of the same row that must be earlier.
        references: the table whose key it must be found in.
    """

    name: str
    type: str
    description: str
    nullable: bool = False
    allowed: tuple[str, ...] = ()
    pattern: str | None = None
    wanted: str | None = None
    minimum: int | None = None
    maximum: int | None = None
    above: int | None = None
    below: int | None = None
    after: str | None = None
    references: str | None = None

    @property
    def postgres_type(self) -> str:
        """Type of the column in raw.<table>."""
        return POSTGRES_TYPES[self.type]

    @property
    def is_identifier(self) -> bool:
        """Whether the column names a thing: indexed, joined, kept exactly as received."""
        return self.name.endswith("_id")


@dataclass(frozen=True)
class TableContract:
    """What one source table may hold: a row per `key`; `time` is when the row happened, where it happened at all.

    `without` says what the product cannot do when the table is absent or empty.
    """

    name: str
    description: str
    key: tuple[str, ...]
    columns: tuple[ColumnContract, ...]
    required: bool = False
    time: str | None = None
    without: str = ""

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns in the order of the contract."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> ColumnContract:
        """Return the column of that name."""
        return next(column for column in self.columns if column.name == name)


@cache
def load_contract() -> dict[str, TableContract]:
    """Read the contract of every table, those first that others refer to.

    Raises:
        ContractError: a file of the contract is wrong.
    """
    tables = {table.name: table for table in map(read_table, sorted(FOLDER.glob("*.yml")))}
    for table in tables.values():
        for column in table.columns:
            if column.references is not None and column.references not in tables:
                raise ContractError(
                    f"{table.name}.yml: {column.name} references {column.references}, which is no table."
                )
    referred_to = {column.references for table in tables.values() for column in table.columns if column.references}
    order = sorted(tables, key=lambda name: (name not in referred_to, not tables[name].required, name))
    return {name: tables[name] for name in order}


def read_table(file: Path) -> TableContract:
    """Read and check one YAML file.

    Raises:
        ContractError: the file is wrong.
    """
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    known = {field.name for field in fields(TableContract)} - {"name"} | {"table"}
    for name in content:
        if name not in known:
            raise ContractError(f"{file.name}: unknown key {name}; the keys are {', '.join(sorted(known))}.")
    if content.get("table") != file.stem:
        raise ContractError(f"{file.name}: table must be {file.stem}, the name of the file.")
    columns = tuple(_read_column(file, name, entry) for name, entry in content["columns"].items())
    table = TableContract(
        name=content["table"],
        description=content["description"],
        key=tuple(content["key"]),
        columns=columns,
        required=bool(content.get("required", False)),
        time=content.get("time"),
        without=content.get("without", ""),
    )
    for name in (*table.key, *filter(None, (table.time, *(column.after for column in columns)))):
        if name not in table.column_names:
            raise ContractError(f"{file.name}: {name} is named but is no column.")
    if not table.required and not table.without:
        raise ContractError(f"{file.name}: say under `without` what cannot be done when the table is absent.")
    return table


def _read_column(file: Path, name: str, entry: dict[str, Any]) -> ColumnContract:
    where = f"{file.name}: {name}"
    known = {field.name for field in fields(ColumnContract)} - {"name"}
    for key in entry:
        if key not in known:
            raise ContractError(f"{where}: unknown key {key}; the keys are {', '.join(sorted(known))}.")
    if entry.get("type") not in POSTGRES_TYPES:
        raise ContractError(f"{where}: type must be one of {', '.join(POSTGRES_TYPES)}.")
    if not entry.get("description"):
        raise ContractError(f"{where}: describe the column.")
    if "pattern" in entry:
        re.compile(entry["pattern"])
        if "wanted" not in entry:
            raise ContractError(f"{where}: say under `wanted` what the pattern means.")
    return ColumnContract(name=name, **{**entry, "allowed": tuple(entry.get("allowed", ()))})
