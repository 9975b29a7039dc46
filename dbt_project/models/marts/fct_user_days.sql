{{
    config(
        materialized="incremental",
        incremental_strategy="replace_range",
        unique_key="activity_date",
        on_schema_change="fail",
        indexes=[
            {"columns": ["user_id", "activity_date"], "unique": true},
            {"columns": ["activity_date"], "type": "brin"},
        ],
    )
}}

{%- set redo_from = first_date_to_redo("activity_date", setting("late_arrival_days")) if is_incremental() %}

with

users as (

    select * from {{ ref("dim_users") }}

),

sessions as (

    select * from {{ ref("fct_sessions") }}
    {%- if is_incremental() %}
    where started_at >= {{ start_of_day(redo_from) }}
    {%- endif %}

),

payments as (

    select * from {{ ref("fct_payments") }}
    {%- if is_incremental() %}
    where paid_at >= {{ start_of_day(redo_from) }}
    {%- endif %}

),

interactions as (

    select * from {{ ref("fct_interactions") }}
    {%- if is_incremental() %}
    where occurred_at >= {{ start_of_day(redo_from) }}
    {%- endif %}

),

sessions_by_day as (

    select
        user_id,
        max(device_id) as device_id,

        max(device_type) as device_type,
        max(operating_system) as operating_system,

        count(*) as sessions_count,
        sum(duration_seconds) as sessions_duration_seconds,
        coalesce(sum(page_view_count), 0) as page_views_count,
        sum(case when {{ utc_hour("started_at") }} < 6 then 1 else 0 end) as night_sessions_count,
        sum(case when {{ utc_hour("started_at") }} between 6 and 11 then 1 else 0 end) as morning_sessions_count,
        sum(case when {{ utc_hour("started_at") }} between 12 and 17 then 1 else 0 end) as afternoon_sessions_count,
        sum(case when {{ utc_hour("started_at") }} >= 18 then 1 else 0 end) as evening_sessions_count,

        coalesce(min(device_type) <> max(device_type), false)
        or coalesce(min(device_id) <> max(device_id), false) as has_several_devices,

        started_date as activity_date,

        min(started_at) as first_activity_at,
        max(started_at) as last_activity_at

    from sessions
    group by user_id, started_date

),

payments_by_day as (

    select
        user_id,

        count(*) as payments_count,
        sum(amount) as payments_amount,
        max(amount) as largest_payment_amount,

        paid_date as activity_date,

        min(paid_at) as first_activity_at,
        max(paid_at) as last_activity_at

    from payments
    where not is_refund
    group by user_id, paid_date

),

interactions_by_day as (

    select
        user_id,

        count(*) as interactions_count,
        {%- for kind in var("interaction_kinds") %}
        sum(case when kind = '{{ kind }}' then 1 else 0 end) as {{ kind }}_interactions_count,
        {%- endfor %}

        occurred_date as activity_date,

        min(occurred_at) as first_activity_at,
        max(occurred_at) as last_activity_at

    from interactions
    group by user_id, occurred_date

),

active_days as (

    select
        user_id,

        activity_date

    from sessions_by_day
    union distinct
    select
        user_id,

        activity_date

    from payments_by_day
    union distinct
    select
        user_id,

        activity_date

    from interactions_by_day

),

-- What lies before the registration (but for a day of doubt about time zones) was told by a clock that is wrong.
days_since_registration as (

    select active_days.*
    from active_days
    inner join users
        on
            active_days.user_id = users.user_id
            and {{ date_after("users.registered_date", -1) }} <= active_days.activity_date

),

days_rolled_up as (

    select
        days_since_registration.user_id,
        sessions_by_day.device_id,

        sessions_by_day.device_type,
        sessions_by_day.operating_system,

        coalesce(sessions_by_day.sessions_count, 0) as sessions_count,
        coalesce(sessions_by_day.sessions_duration_seconds, 0) as sessions_duration_seconds,
        coalesce(sessions_by_day.page_views_count, 0) as page_views_count,
        coalesce(sessions_by_day.night_sessions_count, 0) as night_sessions_count,
        coalesce(sessions_by_day.morning_sessions_count, 0) as morning_sessions_count,
        coalesce(sessions_by_day.afternoon_sessions_count, 0) as afternoon_sessions_count,
        coalesce(sessions_by_day.evening_sessions_count, 0) as evening_sessions_count,
        coalesce(payments_by_day.payments_count, 0) as payments_count,
        coalesce(payments_by_day.payments_amount, 0) as payments_amount,
        payments_by_day.largest_payment_amount,
        coalesce(interactions_by_day.interactions_count, 0) as interactions_count,
        {%- for kind in var("interaction_kinds") %}
        coalesce(interactions_by_day.{{ kind }}_interactions_count, 0) as {{ kind }}_interactions_count,
        {%- endfor %}

        sessions_by_day.has_several_devices,

        days_since_registration.activity_date,
        lag(days_since_registration.activity_date) over (
            partition by days_since_registration.user_id
            order by days_since_registration.activity_date asc
        ) as previous_activity_date,

        least(
            sessions_by_day.first_activity_at,
            payments_by_day.first_activity_at,
            interactions_by_day.first_activity_at
        ) as first_activity_at,
        greatest(
            sessions_by_day.last_activity_at,
            payments_by_day.last_activity_at,
            interactions_by_day.last_activity_at
        ) as last_activity_at

    from days_since_registration
    left join sessions_by_day
        on
            days_since_registration.user_id = sessions_by_day.user_id
            and days_since_registration.activity_date = sessions_by_day.activity_date
    left join payments_by_day
        on
            days_since_registration.user_id = payments_by_day.user_id
            and days_since_registration.activity_date = payments_by_day.activity_date
    left join interactions_by_day
        on
            days_since_registration.user_id = interactions_by_day.user_id
            and days_since_registration.activity_date = interactions_by_day.activity_date

),

{%- if is_incremental() %}

-- The first day that is done again follows a day that is not.
days_after_a_day as (

    select
        days_rolled_up.*,

        coalesce(
            days_rolled_up.previous_activity_date,
            (
                select max(kept.activity_date)
                from {{ this }} as kept
                where
                    kept.user_id = days_rolled_up.user_id
                    and kept.activity_date < {{ redo_from }}
            )
        ) as day_before

    from days_rolled_up

),

{%- else %}

days_after_a_day as (

    select
        days_rolled_up.*,

        days_rolled_up.previous_activity_date as day_before

    from days_rolled_up

),

{%- endif %}

fct_user_days as (

    select
        user_id,
        device_id,

        device_type,
        operating_system,

        cast(sessions_count as bigint) as sessions_count,
        cast(sessions_duration_seconds as bigint) as sessions_duration_seconds,
        cast(page_views_count as bigint) as page_views_count,
        cast(night_sessions_count as bigint) as night_sessions_count,
        cast(morning_sessions_count as bigint) as morning_sessions_count,
        cast(afternoon_sessions_count as bigint) as afternoon_sessions_count,
        cast(evening_sessions_count as bigint) as evening_sessions_count,
        cast(payments_count as bigint) as payments_count,
        cast(payments_amount as numeric(38, 6)) as payments_amount,
        cast(largest_payment_amount as numeric(38, 6)) as largest_payment_amount,
        cast(interactions_count as bigint) as interactions_count,
        {%- for kind in var("interaction_kinds") %}
        cast({{ kind }}_interactions_count as bigint) as {{ kind }}_interactions_count,
        {%- endfor %}
        {{ dbt.datediff("day_before", "activity_date", "day") }} as days_since_previous_activity,

        has_several_devices,

        activity_date,

        first_activity_at,
        last_activity_at

    from days_after_a_day

)

select * from fct_user_days
