"""The embedded server, for real."""

from __future__ import annotations

import psycopg

from local.postgres import EmbeddedPostgres


def test_a_database_is_made_once_and_speaks_utf8_in_a_fixed_order(postgres: EmbeddedPostgres) -> None:
    postgres.ensure_database("twice")
    postgres.ensure_database("twice")
    with psycopg.connect(postgres.url("twice")) as connection:
        row = connection.execute("select lower('ÄÖ'), 'a' < 'B', current_setting('timezone')").fetchone()
    assert row == ("äö", False, "UTC")
