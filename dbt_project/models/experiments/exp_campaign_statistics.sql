{{ config(materialized="table") }}

{%- set outcomes = {
    "return": ("is_return_known", "case when has_returned then 1 else 0 end", "active_days_before"),
    "conversion": ("is_money_known", "case when has_converted then 1 else 0 end", "log_payments_before"),
    "revenue": ("is_money_known", "winsorised_revenue_amount", "log_payments_before"),
} %}

{#- A ratio is named <outcome>_per_<what it is counted by>; the sums of the outcome are already there. -#}
{%- set ratios = {
    "conversion_per_returner": ("case when has_converted then 1 else 0 end", "case when has_returned then 1 else 0 end"),
    "revenue_per_returner": ("winsorised_revenue_amount", "case when has_returned then 1 else 0 end"),
    "revenue_per_payer": ("winsorised_revenue_amount", "case when has_converted then 1 else 0 end"),
} %}

with

campaign_users as (

    select * from {{ ref("exp_campaign_users") }}

),

-- One pass: everything a readout needs of a cell is a count, a sum, a sum of squares or a sum of products.
exp_campaign_statistics as (

    select
        campaign_id,

        planned_by,
        chosen_by,
        arm,
        event_type,
        segment,

        propensity,
        count(*) as assigned_count,
        sum(case when is_return_known then 1 else 0 end) as users_count,
        sum(case when is_return_known and is_contacted then 1 else 0 end) as contacted_count,
        sum(case when is_return_known and has_returned then 1 else 0 end) as returned_count,
        sum(case when is_money_known then 1 else 0 end) as money_users_count,
        sum(case when is_money_known and has_converted then 1 else 0 end) as converted_count,
        cast(
            sum(case when is_money_known then revenue_amount else 0 end) as numeric(38, 6)
        ) as revenue_amount,
        cast(sum(case when is_return_known then cost_amount else 0 end) as numeric(38, 6)) as cost_amount,
        cast(sum(case when is_money_known then cost_amount else 0 end) as numeric(38, 6)) as money_cost_amount,
        {%- for name, (is_known, value, before) in outcomes.items() %}
        cast(sum(case when {{ is_known }} then {{ value }} else 0 end) as numeric(38, 6)) as {{ name }}_total,
        cast(
            sum(case when {{ is_known }} then ({{ value }}) * ({{ value }}) else 0 end) as numeric(38, 6)
        ) as {{ name }}_total_of_squares,
        cast(sum(case when {{ is_known }} then {{ before }} else 0 end) as numeric(38, 6)) as {{ name }}_before_total,
        cast(
            sum(case when {{ is_known }} then {{ before }} * {{ before }} else 0 end) as numeric(38, 6)
        ) as {{ name }}_before_total_of_squares,
        cast(
            sum(case when {{ is_known }} then ({{ value }}) * {{ before }} else 0 end) as numeric(38, 6)
        ) as {{ name }}_total_of_products,
        {%- endfor %}
        {%- for name, (value, base) in ratios.items() %}
        cast(
            sum(case when is_money_known then {{ base }} else 0 end) as numeric(38, 6)
        ) as {{ name }}_base_total,
        cast(
            sum(case when is_money_known then ({{ base }}) * ({{ base }}) else 0 end) as numeric(38, 6)
        ) as {{ name }}_base_total_of_squares,
        cast(
            sum(case when is_money_known then ({{ value }}) * ({{ base }}) else 0 end) as numeric(38, 6)
        ) as {{ name }}_total_of_products,
        {%- endfor %}

        is_treated,

        max(ends_date) as ends_date

    from campaign_users
    group by campaign_id, planned_by, chosen_by, arm, event_type, segment, propensity, is_treated

)

select * from exp_campaign_statistics
