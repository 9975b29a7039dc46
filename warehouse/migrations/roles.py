"""Who may read what: three group roles, without a login, that a company grants to its own people and tools.

rekindle_pipeline writes what the chain writes, rekindle_marketing reads what marketing works with, rekindle_bi reads
reports. None of them reaches `privacy`, where the addresses are.
"""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.engine import Connection

from warehouse.migrations.tables import run

__all__ = ["SCHEMAS", "grant_roles", "role_statements"]

SCHEMAS = {
    "raw": "What landed from the source and keeps the source contract.",
    "quarantine": "What was received but breaks the source contract, with the reason.",
    "staging": "The raw tables, renamed and cast (dbt).",
    "intermediate": "Steps between staging and marts (dbt).",
    "marts": "What is known of users, sessions, payments, exposures and responses (dbt).",
    "features": "What is known as of a date, and what came of past exposures (dbt).",
    "experiments": "Assignments and sums for experiments (dbt).",
    "predictions": "What the models say, by as_of_date.",
    "marketing": "What marketing works with: the last published as_of_date.",
    "reporting": "Reports for BI tools (dbt).",
    "delivery": "What is to be sent, and what was.",
    "privacy": "Addresses and suppressions; no role but the owner reads them.",
    "audit": "Receipts of landings, findings of expectations, versions of the schema.",
}
WRITTEN_BY_PIPELINE = [schema for schema in SCHEMAS if schema not in {"privacy", "delivery"}]
# The pipeline reads consents and suppressions, never addresses. To lock a grant while it publishes it needs the right
# to update one of its columns; the ledger's trigger refuses the update all the same.
PIPELINE_AND_CONSENT = [
    "grant usage on schema privacy to rekindle_pipeline",
    "grant select on privacy.consent_acts, privacy.granted_consents, privacy.current_suppressions to rekindle_pipeline",
    "grant update (granted_at) on privacy.granted_consents to rekindle_pipeline",
]
BUILT_BY_DBT = ["staging", "intermediate", "marts", "features", "experiments", "reporting"]
READERS = {"rekindle_marketing": ["marketing", "reporting"], "rekindle_bi": ["marketing", "reporting"]}
ROLES = ["rekindle_pipeline", *READERS]


def grant_roles(connection: Connection) -> tuple[str, ...]:
    """Create the roles where this login may, and give them their rights.

    Returns:
        A sentence with the SQL for an administrator where it may not; otherwise nothing.
    """
    for role in ROLES:
        if _exists(connection, role):
            continue
        if not _may_create_roles(connection):
            statements = ";\n".join([*(f"create role {name} nologin" for name in ROLES), *role_statements()])
            return (
                "This login may not create roles, so nobody but itself reads the warehouse yet. "
                f"An administrator can run:\n{statements};",
            )
        # Another database of the same server may create it at this moment.
        run(
            connection,
            f"do $$ begin create role {role} nologin; exception when duplicate_object or unique_violation then null; "
            "end $$",
        )
    for statement in role_statements():
        run(connection, statement)
    return ()


def role_statements() -> list[str]:
    """Return the grants of every role, each safe to run again."""
    statements = []
    for schema in WRITTEN_BY_PIPELINE:
        created = "create, usage" if schema in BUILT_BY_DBT else "usage"
        statements += [
            f"grant {created} on schema {schema} to rekindle_pipeline",
            f"grant select, insert, update, delete, truncate on all tables in schema {schema} to rekindle_pipeline",
            f"grant usage on all sequences in schema {schema} to rekindle_pipeline",
            f"alter default privileges in schema {schema} grant select, insert, update, delete, truncate on tables "
            "to rekindle_pipeline",
        ]
    statements += PIPELINE_AND_CONSENT
    for role, schemas in READERS.items():
        for schema in schemas:
            statements += [
                f"grant usage on schema {schema} to {role}",
                f"grant select on all tables in schema {schema} to {role}",
                f"alter default privileges in schema {schema} grant select on tables to {role}",
            ]
    return statements


def _exists(connection: Connection, role: str) -> bool:
    found = connection.execute(text("select exists (select from pg_roles where rolname = :role)"), {"role": role})
    return bool(found.scalar())


def _may_create_roles(connection: Connection) -> bool:
    statement = "select rolsuper or rolcreaterole from pg_roles where rolname = current_user"
    return bool(connection.execute(text(statement)).scalar())
