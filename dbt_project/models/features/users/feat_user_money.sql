with

feat_user_money as (

    select
        user_id,

        {%- for name in ["payments_count", "paying_days_count", "payments_amount"] %}
        {%- for column in window_names(name) %}
        {{ column }},
        {%- endfor %}
        {%- endfor %}
        first_paying_day_amount,
        last_paying_day_amount,
        payments_amount_trend_90d,
        refunds_count_life,
        refunds_amount_life,
        paying_days_share,
        payments_mean_amount,
        largest_payment_amount,
        days_since_last_payment,
        days_since_first_payment,
        repeat_purchase_days_count,
        purchase_recency_days,
        purchase_age_days,
        repeat_purchase_mean_amount,

        as_of_date

    from {{ ref("user_features_of_sums") }}

)

select * from feat_user_money
