with

due as (

    {{ due_user_dates() }}

),

paying_days as (

    select * from {{ ref("fct_user_days") }}
    where payments_count > 0

),

refunds as (

    select * from {{ ref("fct_payments") }}
    where is_refund

),

behaviour as (

    select * from {{ ref("feat_user_behaviour") }}

),

first_paying_days as (

    select
        user_id,

        min(activity_date) as activity_date

    from paying_days
    group by user_id

),

paying_days_before as (

    select
        due.user_id,

        paying_days.payments_count,
        paying_days.payments_amount,
        paying_days.largest_payment_amount,
        {{ dbt.datediff("paying_days.activity_date", "due.as_of_date", "day") }} as days_ago,

        paying_days.activity_date > first_paying_days.activity_date as is_repeat,

        due.as_of_date,
        paying_days.activity_date

    from due
    inner join paying_days
        on
            due.user_id = paying_days.user_id
            and paying_days.activity_date < due.as_of_date
    inner join first_paying_days
        on due.user_id = first_paying_days.user_id

),

sums as (

    select
        user_id,

        {{ sums_by_window("payments_count", "payments_count") }},
        {{ sums_by_window("payments_amount", "payments_amount", "numeric(38, 6)") }},
        {{ sums_by_window("1", "paying_days_count") }},
        max(largest_payment_amount) as largest_payment_amount,
        min(days_ago) as days_since_last_payment,
        max(days_ago) as days_since_first_payment,
        sum(case when is_repeat then 1 else 0 end) as repeat_purchase_days_count,
        sum(case when is_repeat then payments_amount else 0 end) as repeat_payments_amount,
        sum(
            case
                when days_ago <= 90 then payments_amount
                when days_ago <= 180 then -payments_amount
                else 0
            end
        ) as payments_amount_trend,

        as_of_date,
        min(activity_date) as first_payment_date,
        max(activity_date) as last_payment_date

    from paying_days_before
    group by user_id, as_of_date

),

refunds_before as (

    select
        due.user_id,

        count(*) as refunds_count,
        sum(refunds.amount) as refunds_amount,

        due.as_of_date

    from due
    inner join refunds
        on
            due.user_id = refunds.user_id
            and refunds.paid_date < due.as_of_date
    group by due.user_id, due.as_of_date

),

feat_user_money as (

    select
        due.user_id,

        {{ zero_where_missing("sums", ["payments_count", "paying_days_count"]) }},
        {{ zero_where_missing("sums", ["payments_amount"], "numeric(38, 6)") }},
        cast(first_days.payments_amount as numeric(38, 6)) as first_paying_day_amount,
        cast(last_days.payments_amount as numeric(38, 6)) as last_paying_day_amount,
        cast(coalesce(sums.payments_amount_trend, 0) as numeric(38, 6)) as payments_amount_trend_90d,
        coalesce(refunds_before.refunds_count, 0) as refunds_count_life,
        cast(coalesce(refunds_before.refunds_amount, 0) as numeric(38, 6)) as refunds_amount_life,
        cast(
            cast(coalesce(sums.paying_days_count_life, 0) as numeric)
            / nullif(behaviour.active_days_count_life, 0) as double precision
        ) as paying_days_share,
        cast(sums.payments_amount_life / sums.payments_count_life as numeric(38, 6)) as payments_mean_amount,
        cast(sums.largest_payment_amount as numeric(38, 6)) as largest_payment_amount,
        sums.days_since_last_payment,
        sums.days_since_first_payment,
        sums.repeat_purchase_days_count,
        sums.days_since_first_payment - sums.days_since_last_payment as purchase_recency_days,
        sums.days_since_first_payment as purchase_age_days,
        cast(
            sums.repeat_payments_amount / nullif(sums.repeat_purchase_days_count, 0) as numeric(38, 6)
        ) as repeat_purchase_mean_amount,

        due.as_of_date

    from due
    left join sums
        on
            due.user_id = sums.user_id
            and due.as_of_date = sums.as_of_date
    left join behaviour
        on
            due.user_id = behaviour.user_id
            and due.as_of_date = behaviour.as_of_date
    left join paying_days as first_days
        on
            due.user_id = first_days.user_id
            and sums.first_payment_date = first_days.activity_date
    left join paying_days as last_days
        on
            due.user_id = last_days.user_id
            and sums.last_payment_date = last_days.activity_date
    left join refunds_before
        on
            due.user_id = refunds_before.user_id
            and due.as_of_date = refunds_before.as_of_date

)

select * from feat_user_money
