{{
    config(
        materialized="incremental",
        incremental_strategy="replace_from",
        unique_key="refunded_date",
        on_schema_change="fail",
        pre_hook="{{ remember_landings() }}",
        indexes=[
            {"columns": ["user_id", "refunded_date"], "unique": true},
            {"columns": ["refunded_date"]},
        ],
    )
}}

with

refunds as (

    select * from {{ ref("fct_payments") }}
    where
        is_refund
        {%- if is_incremental() %}
        and paid_at >= {{ start_of_day(first_date_to_redo("refunded_date", setting("late_arrival_days"))) }}
        {%- endif %}

),

fct_user_refund_days as (

    select
        user_id,

        count(*) as refunds_count,
        cast(sum(amount) as numeric(38, 6)) as refunds_amount,

        paid_date as refunded_date

    from refunds
    group by user_id, paid_date

)

select * from fct_user_refund_days
