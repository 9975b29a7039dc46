"""What the landed exposures must be as a whole."""

from expectations.suite import WARNING, Border, Suite, no_rows


def suite(border: Border) -> Suite:
    """Expectations on `raw.exposures`, which may be absent."""
    return Suite(
        batch_query=f"select arm, assignment_probability from raw.exposures where exposed_at < {border.as_of}",
        is_optional=True,
        expectations=[
            no_rows(
                "select 1 from {batch} having count(*) filter (where arm = 'control') = 0",
                "no exposure has a control group: effects rest on adjustment, not on a randomised comparison",
                severity=WARNING,
            ),
            no_rows(
                "select 1 from {batch} where arm = 'control' and assignment_probability is null",
                "control rows without assignment_probability cannot be weighted as a randomised comparison",
                severity=WARNING,
            ),
        ],
    )
