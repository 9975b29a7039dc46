"""What a landing reports, and the one error it raises."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LandedTable", "LandingError", "LandingReport"]


class LandingError(ValueError):
    """The source as a whole is refused and the warehouse is as it was; the message says what to do."""


@dataclass(frozen=True)
class LandedTable:
    """What became of the rows of one table: good + quarantined + duplicates = received.

    `released` counts rows of earlier landings that could leave quarantine, because what they refer to is there now.
    """

    table: str
    received: int
    good: int
    quarantined: int
    duplicates: int
    released: int = 0


@dataclass(frozen=True)
class LandingReport:
    """What one landing did: a batch id from the content of its files, a line per table, sentences to read."""

    batch_id: str
    tables: tuple[LandedTable, ...]
    warnings: tuple[str, ...] = ()
