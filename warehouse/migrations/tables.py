"""How a migration writes a table down: columns and what they mean side by side, so that none stays unexplained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

__all__ = ["NewTable", "quoted", "run"]


@dataclass(frozen=True)
class NewTable:
    """A table to create: `schema.table`, its grain, (name, type, meaning) of each column, further constraints."""

    name: str
    description: str
    columns: Sequence[tuple[str, str, str]]
    constraints: Sequence[str] = ()

    def statements(self) -> list[str]:
        """Return the statements that create the table and comment on it and on every column."""
        lines = [f'"{name}" {kind}' for name, kind, _ in self.columns]
        body = ",\n    ".join([*lines, *self.constraints])
        return [
            f"create table {self.name} (\n    {body}\n)",
            f"comment on table {self.name} is {quoted(self.description)}",
            *(f'comment on column {self.name}."{name}" is {quoted(meaning)}' for name, _, meaning in self.columns),
        ]


def quoted(value: str) -> str:
    """Write a text as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def run(connection: Connection, statement: str) -> None:
    """Run a statement without parameters, so that a `%` in it is just a `%`."""
    connection.exec_driver_sql(statement.replace("%", "%%"))
