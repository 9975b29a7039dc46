with

user_days as (

    select * from {{ ref("fct_user_days") }}

),

-- Null where a day has nothing to add, so that sums pass over it.
fct_user_day_measures as (

    select
        user_id,
        device_id,

        device_type,
        operating_system,

        1 as active_days_count,
        sessions_count,
        cast(sessions_duration_seconds as double precision) as sessions_duration_seconds,
        nullif(interactions_count, 0) as interactions_count,
        nullif(payments_count, 0) as payments_count,
        case when payments_count > 0 then 1 end as paying_days_count,
        case when payments_count > 0 then payments_amount end as payments_amount,
        cast(page_views_count as double precision) as page_views_count,
        case when sessions_count > 0 then 1 end as session_days_count,
        case when has_several_devices then 1 end as device_switch_days_count,
        case when days_since_previous_activity is not null then 1 end as gaps_count,
        days_since_previous_activity as gaps_days,
        cast(days_since_previous_activity as double precision) * days_since_previous_activity as gaps_square_days,
        {%- for part in ["night", "morning", "afternoon", "evening"] %}
        nullif({{ part }}_sessions_count, 0) as {{ part }}_sessions_count,
        {%- endfor %}
        {%- for day in weekday_names() %}
        case when {{ weekday("activity_date") }} = {{ loop.index0 }} then 1 end as {{ day }}_days_count,
        {%- endfor %}
        {%- for kind in var("interaction_kinds") %}
        nullif({{ kind }}_interactions_count, 0) as {{ kind }}_interactions_count,
        {%- endfor %}
        days_since_previous_activity as gaps_longest_days,
        largest_payment_amount,

        activity_date,
        activity_date as first_activity_date,
        activity_date as last_activity_date,
        case when sessions_count > 0 then activity_date end as last_session_date,
        case when interactions_count > 0 then activity_date end as last_interaction_date,
        case when payments_count > 0 then activity_date end as first_payment_date,
        case when payments_count > 0 then activity_date end as last_payment_date,

        last_activity_at

    from user_days

)

select * from fct_user_day_measures
