"""What the landed payments must be as a whole."""

from expectations.suite import WARNING, Border, Suite, between, no_rows


def suite(border: Border) -> Suite:
    """Expectations on `raw.payments`, which may be absent."""
    return Suite(
        batch_query=f"select kind, amount, paid_at from raw.payments where paid_at < {border.as_of}",
        is_optional=True,
        expectations=[
            between("amount", 0, 1_000_000, "a payment above a million is a unit or a decimal point gone wrong"),
            no_rows(
                "select 1 from {batch} having sum(amount) filter (where kind = 'refund') "
                "> sum(amount) filter (where kind <> 'refund')",
                "refunds exceed payments: the sign or the kind of refunds is probably wrong",
                severity=WARNING,
            ),
        ],
    )
