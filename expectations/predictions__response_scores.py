"""What the scores of user and event must be before anybody sees them."""

from expectations.suite import CRITICAL, Border, Suite, between, no_rows


def suite(border: Border) -> Suite:
    """Expectations on the rows of one date in `predictions.response_scores`."""
    return Suite(
        batch_query=f"select * from predictions.response_scores where as_of_date = {border.day}",
        # No open event: no pair to score.
        is_optional=True,
        expectations=[
            between("p_return", 0, 1, "a chance outside [0, 1] is a broken model", severity=CRITICAL),
            between("p_conversion", 0, 1, "a chance outside [0, 1] is a broken model", severity=CRITICAL),
            no_rows(
                "select 1 from {batch} where abs(uplift - (p_return - p_return_if_not_contacted)) > 1e-9",
                "uplift is the difference of the two chances, in every row",
            ),
            no_rows(
                "select user_id from {batch} group by user_id having count(*) > 3",
                "the contract keeps the best three events a user",
            ),
            between("uplift", -0.5, 0.5, "an event that moves a chance by half is too good to be true", mostly=0.99),
        ],
    )
