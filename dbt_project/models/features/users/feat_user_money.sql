with

sums as (

    select * from {{ ref("user_sums_as_of_dates") }}

),

refunds as (

    select * from {{ ref("user_refunds_versions") }}

),

paying_days as (

    select
        *,

        {{ dbt.datediff("first_payment_date", "as_of_date", "day") }} as days_since_first_payment,
        {{ dbt.datediff("last_payment_date", "as_of_date", "day") }} as days_since_last_payment,
        -- Unknown, hence null, for a user who never paid.
        case when paying_days_count_life > 0 then paying_days_count_life - 1 end as repeat_purchase_days_count

    from sums

),

feat_user_money as (

    select
        paying_days.user_id,

        {%- for name in ["payments_count", "paying_days_count", "payments_amount"] %}
        {%- for column in window_names(name) %}
        paying_days.{{ column }},
        {%- endfor %}
        {%- endfor %}
        paying_days.first_paying_day_amount,
        paying_days.last_paying_day_amount,
        cast(2 * paying_days.payments_amount_90d - paying_days.payments_amount_180d as numeric(38, 6))
            as payments_amount_trend_90d,
        coalesce(refunds.refunds_count_life, 0) as refunds_count_life,
        cast(coalesce(refunds.refunds_amount_life, 0) as numeric(38, 6)) as refunds_amount_life,
        cast(
            cast(paying_days.paying_days_count_life as numeric)
            / nullif(paying_days.active_days_count_life, 0) as double precision
        ) as paying_days_share,
        cast(
            paying_days.payments_amount_life / nullif(paying_days.payments_count_life, 0) as numeric(38, 6)
        ) as payments_mean_amount,
        cast(paying_days.largest_payment_amount as numeric(38, 6)) as largest_payment_amount,
        paying_days.days_since_last_payment,
        paying_days.days_since_first_payment,
        paying_days.repeat_purchase_days_count,
        paying_days.days_since_first_payment - paying_days.days_since_last_payment as purchase_recency_days,
        paying_days.days_since_first_payment as purchase_age_days,
        cast(
            (paying_days.payments_amount_life - paying_days.first_paying_day_amount)
            / nullif(paying_days.repeat_purchase_days_count, 0) as numeric(38, 6)
        ) as repeat_purchase_mean_amount,

        paying_days.as_of_date

    from paying_days
    left join refunds
        on
            paying_days.user_id = refunds.user_id
            and {{ holds_at("refunds", "paying_days.as_of_date") }}

)

select * from feat_user_money
