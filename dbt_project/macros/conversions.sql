{#-
    Whether and how much those who returned paid, for examples from `first_date` (a SQL date) on, or all. The date is a
    literal of both sides: of payments before it Postgres then reads nothing.
-#}
{% macro conversions_after_returns(first_date=none) -%}
{%- set both_windows_days = [setting("conversion_window_days") | int, setting("value_horizon_days") | int] | max %}

with

examples as (

    select * from {{ ref("label_example_return_14d") }}
    {%- if first_date %}
    where as_of_date >= {{ first_date }}
    {%- endif %}

),

payments as (

    select * from {{ ref("fct_payments") }}
    {%- if first_date %}
    where paid_at >= {{ start_of_day(first_date) }}
    {%- endif %}

),

returns as (

    select
        example_id,
        user_id,

        as_of_date,

        returned_at

    from examples
    where has_returned

),

-- Refunds count against revenue and are no conversion.
payments_after_returns as (

    select
        returns.example_id,

        sum(
            case
                when payments.paid_at < {{ days_after("returns.returned_at", setting("value_horizon_days")) }}
                    then payments.net_amount
                else 0
            end
        ) as revenue_amount,
        sum(payments.net_amount) as revenue_amount_90d,

        returns.as_of_date,

        min(
            case
                when
                    not payments.is_refund
                    and payments.paid_at < {{ days_after("returns.returned_at", setting("conversion_window_days")) }}
                    then payments.paid_at
            end
        ) as converted_at

    from returns
    inner join payments
        on
            returns.user_id = payments.user_id
            and returns.returned_at <= payments.paid_at
            and payments.paid_at < {{ days_after("returns.returned_at", setting("long_revenue_days")) }}
    group by returns.example_id, returns.as_of_date

),

conversions as (

    select
        returns.example_id,

        cast(coalesce(payments_after_returns.revenue_amount, 0) as numeric(38, 6)) as revenue_amount,
        cast(coalesce(payments_after_returns.revenue_amount_90d, 0) as numeric(38, 6)) as revenue_amount_90d,

        payments_after_returns.converted_at is not null as has_converted,

        returns.as_of_date,

        payments_after_returns.converted_at,
        {{ days_after("returns.returned_at", both_windows_days) }} as conversion_known_at,
        {{ days_after("returns.returned_at", setting("long_revenue_days")) }} as revenue_90d_known_at

    from returns
    left join payments_after_returns
        on
            returns.example_id = payments_after_returns.example_id
            and returns.as_of_date = payments_after_returns.as_of_date

)

select * from conversions
{%- endmacro %}
