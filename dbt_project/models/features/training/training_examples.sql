{{
    config(
        materialized="incremental",
        incremental_strategy="replace_range",
        unique_key=["example_id", "as_of_date"],
        indexes=[
            {"columns": ["example_id"], "unique": true},
            {"columns": ["as_of_date", "user_id"]},
        ],
    )
}}

{%- set longest_label_days = [
    setting("conversion_window_days") | int, setting("value_horizon_days") | int, setting("long_revenue_days") | int
] | max %}

{%- set redo_from = first_date_to_redo(
    "as_of_date", example_redo_days() | int + longest_label_days
) if is_incremental() %}

{%- set recent_examples -%}
{%- if redo_from -%}
    where
        as_of_date < {{ as_of_date() }}
        and as_of_date >= {{ redo_from }}
{%- endif -%}
{%- endset %}

with

returns as (

    select * from {{ ref("label_example_return_14d") }}
    {{ recent_examples }}

),

conversions as (

    {{ conversions_after_returns(redo_from) | indent(4) }}

),

responses as (

    select * from {{ ref("label_example_response_14d") }}
    {{ recent_examples }}

),

training_examples as (

    select
        returns.example_id,
        returns.user_id,
        returns.event_id,

        returns.event_type,
        returns.channel,
        returns.arm,

        returns.assignment_probability,
        conversions.revenue_amount,
        conversions.revenue_amount_90d,

        returns.is_inactive,
        coalesce(responses.has_responded, false) as has_responded,
        returns.has_returned,
        conversions.has_converted,

        returns.as_of_date,

        returns.reference_at,
        returns.returned_at,
        conversions.converted_at,
        returns.return_known_at,
        conversions.conversion_known_at,
        conversions.revenue_90d_known_at

    from returns
    left join conversions
        on
            returns.example_id = conversions.example_id
            and returns.as_of_date = conversions.as_of_date
    left join responses
        on
            returns.example_id = responses.example_id
            and returns.as_of_date = responses.as_of_date

)

select * from training_examples
