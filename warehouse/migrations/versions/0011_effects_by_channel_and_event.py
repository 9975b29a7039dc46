"""What marketing reads of effects over each channel and of single events, and how robust adjusted effects are."""

from alembic import op

from warehouse.migrations.tables import quoted, run

revision = "0011"
down_revision = "0010"

# Columns may be added to a view at its end while somebody reads it; those before stay as they were.
VIEW = """
    create or replace view marketing.{name} as
    select
        returned.as_of_date, {cell}, returned.exposed, returned.controls,
        returned.rate_exposed as return_rate_exposed, returned.rate_control as return_rate_control,
        returned.effect, returned.low, returned.high, returned.evidence, returned.is_shrunk,
        returned.p_value, returned.p_value_adjusted,
        converted.effect as conversion_effect, converted.low as conversion_low, converted.high as conversion_high,
        converted.evidence as conversion_evidence,
        revenue.revenue_per_contact, revenue.low as revenue_low, revenue.high as revenue_high,
        revenue.cost_per_contact, revenue.roi, revenue.roi_low, revenue.roi_high, revenue.evidence as revenue_evidence,
        cast(returned.diagnostics ->> 'e_value' as double precision) as e_value,
        cast(returned.diagnostics ->> 'e_value_of_interval' as double precision) as e_value_of_interval
    from predictions.event_effects as returned
    left join predictions.event_effects as converted
        on converted.outcome = 'conversion'
        and (converted.as_of_date, converted.scope, converted.event_type)
            = (returned.as_of_date, returned.scope, returned.event_type)
        and (converted.segment, converted.channel, converted.event_id)
            = (returned.segment, returned.channel, returned.event_id)
    left join predictions.event_effects as revenue
        on revenue.outcome = 'revenue'
        and (revenue.as_of_date, revenue.scope, revenue.event_type)
            = (returned.as_of_date, returned.scope, returned.event_type)
        and (revenue.segment, revenue.channel, revenue.event_id)
            = (returned.segment, returned.channel, returned.event_id)
    where returned.outcome = 'return'
        and returned.scope in ({scopes})
        and returned.as_of_date = (select max(publications.as_of_date) from marketing.publications)
"""
VIEWS = (
    {"name": "event_effects", "cell": "returned.event_type, returned.segment", "scopes": "'event_type', 'segment'"},
    {
        "name": "event_effect_details",
        "cell": "returned.scope, returned.event_type, returned.channel, returned.event_id",
        "scopes": "'channel', 'event'",
    },
)
ROBUSTNESS = {
    "e_value": "How strongly something unseen would have to be tied to invitation and return, as a risk ratio, to "
    "explain an adjusted effect away; empty where chance decided, or where nothing unseen would do.",
    "e_value_of_interval": "The same for the end of the interval nearer to no effect; 1 where it holds zero.",
}
DETAILS = {
    "": "One row per event type and channel, and one per single event, of the last published as_of_date: what events "
    "did.",
    "as_of_date": "Everything known strictly before this date, 00:00 UTC, was used.",
    "scope": "channel: the type over one channel; event: one event over all channels.",
    "event_type": "Type of the events.",
    "channel": "Channel of the invitations; all for a single event.",
    "event_id": "The event; all for a channel.",
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
    **ROBUSTNESS,
}


def upgrade() -> None:
    connection = op.get_bind()
    for view, meanings in zip(VIEWS, (ROBUSTNESS, DETAILS), strict=True):
        run(connection, VIEW.format(**view))
        for column, meaning in meanings.items():
            relation = f"marketing.{view['name']}"
            target = f'column {relation}."{column}"' if column else f"view {relation}"
            run(connection, f"comment on {target} is {quoted(meaning)}")
