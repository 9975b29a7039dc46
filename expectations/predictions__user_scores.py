"""What the scores of users must be before anybody sees them."""

from expectations.suite import CRITICAL, WARNING, Border, Suite, between, covers_inactive_users, no_rows


def suite(border: Border) -> Suite:
    """Expectations on the rows of one date in `predictions.user_scores`."""
    probability = "a chance outside [0, 1] is a broken model"
    return Suite(
        batch_query=f"select * from predictions.user_scores where as_of_date = {border.day}",
        expectations=[
            covers_inactive_users(border),
            between("p_return_if_not_contacted", 0, 1, probability, severity=CRITICAL),
            between("p_return_best", 0, 1, probability, severity=CRITICAL),
            between("p_conversion", 0, 1, probability, severity=CRITICAL),
            between("p_alive", 0, 1, probability, severity=CRITICAL),
            between("lifetime_value", 0, None, "nobody is worth less than nothing", severity=CRITICAL),
            no_rows(
                "select 1 from {batch} having count(*) filter (where value_score is null or segment is null) > 0",
                "a user without value or segment cannot be ranked",
            ),
            no_rows(
                "select 1 from {batch} having count(*) >= 200 "
                "and min(p_return_if_not_contacted) = max(p_return_if_not_contacted)",
                "everybody got the same chance: the model fell back to its prior",
                severity=WARNING,
            ),
            no_rows(
                "select segment from (select segment, count(*) as size, sum(count(*)) over () as total from {batch} "
                "group by segment) as segments where total >= 200 and size > 0.95 * total",
                "one segment holds nearly everybody: segmentation says nothing",
                severity=WARNING,
            ),
        ],
    )
