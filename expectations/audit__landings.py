"""What share of a source may be refused before the whole of it is suspect."""

from expectations.suite import WARNING, Border, Suite, no_rows


def suite(border: Border) -> Suite:
    """Expectations on `audit.landings`, the newest receipt of each table."""
    alerts = border.settings.alerts
    refused = "select table_name, quarantined, received from {{batch}} where quarantined > {share} * received"
    return Suite(
        batch_query="""
            select table_name, received, quarantined from (
                select *, row_number() over (partition by table_name order by landing_id desc) as recency
                from audit.landings
            ) as landings where recency = 1
        """,
        expectations=[
            no_rows(
                refused.format(share=alerts.maximum_quarantined_share),
                f"more than {alerts.maximum_quarantined_share:.0%} of a table's rows were quarantined: "
                "the export has changed, see quarantine.rows",
            ),
            no_rows(
                refused.format(share=alerts.warn_quarantined_share),
                f"more than {alerts.warn_quarantined_share:.0%} of a table's rows are in quarantine.rows",
                severity=WARNING,
            ),
        ],
    )
