"""What lands in raw.consents enters the consent ledger in the same transaction, whoever writes it and however."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.engine import Connection

from warehouse.migrations.tables import run

__all__ = ["feed_consent_ledger"]

TRIGGER = "landed_consents_are_taken_over"

IS_THERE = "select to_regclass('raw.consents') is not null"
IS_FED = f"select exists (select from pg_trigger where tgrelid = to_regclass('raw.consents') and tgname = '{TRIGGER}')"

# Rows that landed before there was a ledger.
TAKE_OVER = """
    insert into privacy.consent_acts (source, consent_id, user_id, channel, purpose, is_granted, decided_at)
    select 'import', consent_id, user_id, channel, purpose, is_granted, decided_at from raw.consents
    on conflict do nothing
"""


def feed_consent_ledger(connection: Connection) -> None:
    """Let the ledger take over what lands in raw.consents, and what has landed; nothing where that is set up."""
    if not connection.execute(text(IS_THERE)).scalar() or connection.execute(text(IS_FED)).scalar():
        return
    run(
        connection,
        f"create trigger {TRIGGER} after insert on raw.consents referencing new table as landed "
        "for each statement execute function privacy.take_over_landed_consents()",
    )
    run(connection, TAKE_OVER)
