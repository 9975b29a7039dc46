"""What tests of every room share: one real Postgres server a test process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.postgres import EmbeddedPostgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A running embedded server, empty but for its own databases; gone after the tests."""
    with tempfile.TemporaryDirectory(prefix="rekindle-tests-") as folder:
        Path(folder).chmod(0o711)  # as root the server is another user, who has to get in
        # What a test has written is thrown away: waiting for the disk would prove nothing here.
        server = EmbeddedPostgres(
            Path(folder) / "postgres",
            settings={"fsync": "off", "full_page_writes": "off", "shared_buffers": "256MB"},
        )
        server.start()
        try:
            yield server
        finally:
            server.remove()
