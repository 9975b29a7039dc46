"""Transactions that meet others on the same rows are done again, a bounded number of times."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

import duckdb
import psycopg

from warehouse.door import WarehouseError

__all__ = ["CONFLICT_TRIES", "retry_conflicts"]

CONFLICT_TRIES = 10
SHORTEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.05, 2.0

# Postgres undoes one of several transactions that cannot be told apart in time, or that wait for each other.
CONFLICTS = (
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.LockNotAvailable,
)
# DuckDB passes on what Postgres said, without its code.
CONFLICT_TEXTS = ("could not serialize access", "deadlock detected", "lock timeout")

Result = TypeVar("Result")


def retry_conflicts(work: Callable[[], Result], what: str) -> Result:
    """Do a transaction, and again when another one on the same rows made Postgres undo it.

    Between two tries it waits for a random time that doubles, so that the two do not meet again.

    Args:
        work: the whole transaction; nothing of a failed try may be left behind.
        what: what is being done, for the message: "publishing targets".

    Raises:
        WarehouseError: it met others every time; nothing has changed, and the same may be tried later.
    """
    number = 0
    while True:
        number += 1
        try:
            return work()
        except (psycopg.Error, duckdb.Error) as error:
            if not _is_conflict(error):
                raise
            if number == CONFLICT_TRIES:
                reason = str(error).strip().splitlines()[0]
                raise WarehouseError(
                    f"Other transactions on the same rows stopped {what} {CONFLICT_TRIES} times in a row ({reason}): "
                    "nothing was changed, run it again."
                ) from error
        # The jitter decides when, never what.
        time.sleep(random.uniform(0.5, 1.0) * min(LONGEST_WAIT_SECONDS, SHORTEST_WAIT_SECONDS * 2**number))


def _is_conflict(error: Exception) -> bool:
    """Whether the same transaction may succeed when it is done again."""
    if isinstance(error, duckdb.Error):
        return any(text in str(error) for text in CONFLICT_TEXTS)
    return isinstance(error, CONFLICTS)
