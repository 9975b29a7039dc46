"""What the landed users must be as a whole."""

from expectations.suite import WARNING, Border, Suite, no_rows, rows_at_least


def suite(border: Border) -> Suite:
    """Expectations on `raw.users`."""
    return Suite(
        batch_query=f"select * from raw.users where registered_at < {border.as_of}",
        expectations=[
            rows_at_least(1, "without users registered before the as_of_date there is nobody to win back"),
            no_rows(
                "select count(*) from {batch} having count(*) > 1 and count(distinct registered_at) = 1",
                "everybody registered in the same instant: the column was probably filled by the export",
                severity=WARNING,
            ),
        ],
    )
