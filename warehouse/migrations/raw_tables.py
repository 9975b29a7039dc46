"""Raw tables follow the source contract: what the contract gained is added, nothing is dropped."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from warehouse.contract import TableContract, load_contract
from warehouse.migrations.tables import quoted, run

__all__ = ["key_constraint", "reconcile_raw_tables", "secondary_indexes"]

BATCH_MEANING = "The landing that brought the row, see audit.landings."
LANDING_MEANING = "Number of the landing that wrote the row; empty where none did, then every build looks at it again."


def reconcile_raw_tables(connection: Connection) -> None:
    """Create the raw tables that are missing, add the columns that are missing, and renew all comments."""
    for table in load_contract().values():
        for statement in _statements(table):
            run(connection, statement)


def key_constraint(table: TableContract) -> tuple[str, str]:
    """Return name and definition of the primary key of raw.<table>."""
    return f"{table.name}_pkey", f"primary key ({', '.join(table.key)})"


def secondary_indexes(table: TableContract) -> dict[str, str]:
    """Return name and definition of the further indexes: rows of a span of time or of a landing, and users to come.

    Exports come roughly in the order of time, and landings follow one another, so that a BRIN finds a span at a
    hundredth of the cost of a B-tree. Users come in any order; those who register on or after a date are few, and every
    table of features leaves them out.
    """
    if table.name == "users":
        name = "users_registered_at"
        return {name: f"create index if not exists {name} on raw.users (registered_at)"}
    if table.time is None:
        return {}
    name = f"{table.name}_{table.time}_and_landing"
    return {
        name: f"create index if not exists {name} on raw.{table.name} using brin ({table.time}, _landing_id)"
        " with (autosummarize = on)"
    }


def _statements(table: TableContract) -> list[str]:
    name = f"raw.{table.name}"
    key_name, key = key_constraint(table)
    columns = [f"{column.name} {column.postgres_type}" for column in table.columns]
    needed = [
        f"{column.name} {column.postgres_type}{'' if column.nullable else ' not null'}" for column in table.columns
    ]
    landed = ["_batch_id text not null", "_landing_id bigint"]
    body = ", ".join([*needed, *landed, f"constraint {key_name} {key}"])
    return [
        f"create table if not exists {name} ({body})",
        *(f"alter table {name} add column if not exists {column}" for column in [*columns, landed[-1]]),
        *secondary_indexes(table).values(),
        # From before indexes knew landings.
        *([] if table.name == "users" else [f"drop index if exists raw.{table.name}_{table.time}"]),
        f"comment on table {name} is {quoted(table.description)}",
        *(f"comment on column {name}.{column.name} is {quoted(column.description)}" for column in table.columns),
        f"comment on column {name}._batch_id is {quoted(BATCH_MEANING)}",
        f"comment on column {name}._landing_id is {quoted(LANDING_MEANING)}",
    ]
