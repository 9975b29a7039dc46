"""The view in which marketing reads what events did."""

from alembic import op

from warehouse.migrations.tables import quoted, run

revision = "0002"
down_revision = "0001"

# What marketing sees of the effects: a row per event type and segment, the three outcomes side by side.
EVENT_EFFECTS_VIEW = """
    create view marketing.event_effects as
    select
        returned.as_of_date, returned.event_type, returned.segment, returned.exposed, returned.controls,
        returned.rate_exposed as return_rate_exposed, returned.rate_control as return_rate_control,
        returned.effect, returned.low, returned.high, returned.evidence, returned.is_shrunk,
        returned.p_value, returned.p_value_adjusted,
        converted.effect as conversion_effect, converted.low as conversion_low, converted.high as conversion_high,
        converted.evidence as conversion_evidence,
        revenue.revenue_per_contact, revenue.low as revenue_low, revenue.high as revenue_high,
        revenue.cost_per_contact, revenue.roi, revenue.roi_low, revenue.roi_high, revenue.evidence as revenue_evidence
    from predictions.event_effects as returned
    left join predictions.event_effects as converted
        on converted.outcome = 'conversion'
        and (converted.as_of_date, converted.scope, converted.event_type, converted.segment, converted.channel)
            = (returned.as_of_date, returned.scope, returned.event_type, returned.segment, returned.channel)
    left join predictions.event_effects as revenue
        on revenue.outcome = 'revenue'
        and (revenue.as_of_date, revenue.scope, revenue.event_type, revenue.segment, revenue.channel)
            = (returned.as_of_date, returned.scope, returned.event_type, returned.segment, returned.channel)
    where returned.outcome = 'return'
        and returned.scope in ('event_type', 'segment')
        and returned.as_of_date = (select max(publications.as_of_date) from marketing.publications)
"""
EVENT_EFFECTS_MEANINGS = {
    "": "One row per event type and segment (all included) of the last published as_of_date: what events did.",
    "as_of_date": "Everything known strictly before this date, 00:00 UTC, was used.",
    "event_type": "Type of the events.",
    "segment": "Segment at the exposure; all where not split.",
    "exposed": "Inactive users who were invited.",
    "controls": "Inactive users they are compared with.",
    "return_rate_exposed": "Share of those invited who returned within the return window.",
    "return_rate_control": "Share of those compared with who returned, after adjustment.",
    "effect": "What the invitation added to the chance to return.",
    "low": "Lower end of the 95 % interval of the effect.",
    "high": "Upper end of the 95 % interval of the effect.",
    "evidence": "Whether the effect is randomised, adjusted, or rests on insufficient data.",
    "is_shrunk": "Whether a small cell borrowed from the others of its type.",
    "p_value": "Chance of an effect this large where there is none.",
    "p_value_adjusted": "The same, corrected for the number of cells looked at.",
    "conversion_effect": "What the invitation added to the chance of a payment after a return.",
    "conversion_low": "Lower end of the 95 % interval of the conversion effect.",
    "conversion_high": "Upper end of the 95 % interval of the conversion effect.",
    "conversion_evidence": "Evidence of the conversion effect.",
    "revenue_per_contact": "Revenue one contact added.",
    "revenue_low": "Lower end of the 95 % interval of the revenue.",
    "revenue_high": "Upper end of the 95 % interval of the revenue.",
    "cost_per_contact": "Cost of one contact with its rewards.",
    "roi": "(revenue - cost) / cost of a contact.",
    "roi_low": "Lower end of the 95 % interval of the roi.",
    "roi_high": "Upper end of the 95 % interval of the roi.",
    "revenue_evidence": "Evidence of the revenue effect.",
}


def upgrade() -> None:
    connection = op.get_bind()
    run(connection, "drop view if exists marketing.event_effects")
    run(connection, EVENT_EFFECTS_VIEW)
    for column, meaning in EVENT_EFFECTS_MEANINGS.items():
        target = f'column marketing.event_effects."{column}"' if column else "view marketing.event_effects"
        run(connection, f"comment on {target} is {quoted(meaning)}")
