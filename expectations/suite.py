"""The words that suites are written in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import great_expectations.expectations as gxe
from great_expectations.expectations.metadata_types import FailureSeverity

from warehouse.settings import Settings

CRITICAL = FailureSeverity.CRITICAL
WARNING = FailureSeverity.WARNING


@dataclass(frozen=True)
class Border:
    """What is known when a batch stands at the border: the date it is for and the settings in force."""

    as_of_date: date
    settings: Settings

    @property
    def as_of(self) -> str:
        """The as_of_date as an SQL literal of type timestamptz (00:00 UTC)."""
        return f"timestamptz '{self.as_of_date.isoformat()} 00:00:00+00'"

    @property
    def day(self) -> str:
        """The as_of_date as an SQL literal of type date."""
        return f"date '{self.as_of_date.isoformat()}'"


@dataclass(frozen=True)
class Suite:
    """The expectations on one relation.

    Attributes:
        batch_query: SQL that selects the rows the expectations are about.
        expectations: Great Expectations objects, each with a severity and `meta={"because": ...}`.
        is_optional: an empty batch is normal (cold start), and nothing is expected of it.
    """

    batch_query: str
    expectations: Sequence[Any]
    is_optional: bool = False


def rows_at_least(minimum: int, because: str) -> Any:
    """The batch has at least so many rows; critical."""
    return gxe.ExpectTableRowCountToBeBetween(min_value=minimum, severity=CRITICAL, meta={"because": because})


def no_rows(query: str, because: str, *, severity: FailureSeverity = CRITICAL) -> Any:
    """`query` (with `{batch}` for the batch) returns no row.

    Where the query joins, Great Expectations leaves it to the query to name the batch, as Postgres before 16 asks for:
    `{batch} as batch`.
    """
    return gxe.UnexpectedRowsExpectation(
        unexpected_rows_query=query, description=because, severity=severity, meta={"because": because}
    )


def covers_inactive_users(border: Border) -> Any:
    """The batch has one row for every inactive user of the date; zero rows pass only where all users are active."""
    return no_rows(
        f"""
            select written, inactive, known
            from (select count(*) as written from {{batch}} as batch) as counted
            cross join (
                select count(*) filter (where is_inactive) as inactive, count(*) as known
                from {border.settings.activity_relation} where as_of_date = {border.day}
            ) as features
            where written <> inactive or known = 0
        """,
        "every inactive user has exactly one row: a missing or doubled one means a stage that did not finish",
    )


def between(
    column: str,
    low: float | None,
    high: float | None,
    because: str,
    *,
    severity: FailureSeverity = WARNING,
    mostly: float = 1.0,
) -> Any:
    """Values of `column` lie in [low, high], in at least the share `mostly` of the rows."""
    return gxe.ExpectColumnValuesToBeBetween(
        column=column, min_value=low, max_value=high, mostly=mostly, severity=severity, meta={"because": because}
    )
