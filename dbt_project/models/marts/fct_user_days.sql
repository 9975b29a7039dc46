{{
    config(
        materialized="incremental",
        incremental_strategy="replace_changes",
        unique_key=["user_id", "activity_date"],
        on_schema_change="fail",
        sql_header=settings_of_a_large_sort(),
        pre_hook=["{{ remember_landings() }}", "{{ settings_of_a_full_sort() }}"],
        post_hook=["{{ remember_run() }}", "{{ index_of_changed_days() }}"],
        indexes=[
            {"columns": ["user_id", "activity_date"], "unique": true},
            {"columns": ["activity_date"]},
        ],
    )
}}

{%- set redo_from = first_date_to_redo("activity_date", setting("late_arrival_days")) if is_incremental() %}
{%- set activity_models = [
    ("fct_sessions", "started_at", "started_date"),
    ("fct_payments", "paid_at", "paid_date"),
    ("fct_interactions", "occurred_at", "occurred_date"),
] %}
{%- set day_before = "day_before" if is_incremental() else "previous_activity_date" %}
{#- Two days of one user are never that far apart; the numbers of two users' days are further. -#}
{%- set longest_gap_days = 2147483648 %}

with

{%- if is_incremental() %}

-- Days of which a row has landed since the run before.
new_days as (

    {%- for model, moment, day in activity_models %}
    select
        user_id,

        {{ day }} as activity_date

    from {{ ref(model) }}
    where
        {{ moment }} >= {{ start_of_day(redo_from) }}
        and {{ has_landed_since() }}
    {%- if not loop.last %}
    union distinct
    {%- endif %}
    {%- endfor %}

),

-- And the days of the same users that come next, whose gaps may be others now.
days_to_count as (

    select
        user_id,

        activity_date

    from new_days
    union distinct
    select
        new_days.user_id,

        next_day.activity_date

    from new_days
    cross join
        lateral (
            select known.activity_date
            from {{ this }} as known
            where
                known.user_id = new_days.user_id
                and known.activity_date > new_days.activity_date
            order by known.activity_date
            limit 1
        ) as next_day

),

{%- endif %}

{%- for model, moment, day in activity_models %}

{{ model | replace("fct_", "") }} as (

    select * from {{ ref(model) }}
    {%- if is_incremental() %}
    where
        {{ moment }} >= {{ start_of_day(redo_from) }}
        and (user_id, {{ day }}) in (
            select
                days_to_count.user_id,
                days_to_count.activity_date
            from days_to_count
        )
    {%- endif %}

),

{%- endfor %}

-- One list, so that one pass counts all kinds; seconds and pages as doubles add up exactly and faster than bigints.
activities as (

    select
        user_id,
        device_id,

        device_type,
        operating_system,
        cast(null as text) as kind,

        cast(duration_seconds as double precision) as duration_seconds,
        cast(page_view_count as double precision) as page_view_count,
        {{ utc_time("started_at") }} as started_time,
        cast(null as numeric(38, 6)) as amount,

        started_date as activity_date,

        started_at as happened_at

    from sessions
    union all
    select
        user_id,
        cast(null as text) as device_id,

        cast(null as text) as device_type,
        cast(null as text) as operating_system,
        cast(null as text) as kind,

        cast(null as double precision) as duration_seconds,
        cast(null as double precision) as page_view_count,
        cast(null as time) as started_time,
        amount,

        paid_date as activity_date,

        paid_at as happened_at

    from payments
    where not is_refund
    union all
    select
        user_id,
        cast(null as text) as device_id,

        cast(null as text) as device_type,
        cast(null as text) as operating_system,
        kind,

        cast(null as double precision) as duration_seconds,
        cast(null as double precision) as page_view_count,
        cast(null as time) as started_time,
        cast(null as numeric(38, 6)) as amount,

        occurred_date as activity_date,

        occurred_at as happened_at

    from interactions

),

users as (

    {%- if is_incremental() or not fits_in_an_array(ref("dim_users"), "user_id") %}

    select
        user_id,

        row_number() over (order by user_id) as user_number,

        registered_date

    from ({{ users_of("days_to_count") }}) as users_to_count

    {%- else %}

    -- What row_number() says; but with a window function in it, Postgres would join and sort on one core.
    select
        numbered.user_id,

        numbered.user_number,

        numbered.registered_date

    from (
        select
            array_agg(user_id order by user_id) as user_ids,

            array_agg(registered_date order by user_id) as registered_dates

        from {{ ref("dim_users") }}
    ) as all_users
    cross join
        lateral unnest(all_users.user_ids, all_users.registered_dates) with ordinality
            as numbered (user_id, registered_date, user_number)

    {%- endif %}

),

-- What lies before the registration (but for a day of doubt about time zones) was told by a clock that is wrong.
-- A day of a user is one whole number, in the order of users and dates: to sort by it takes half of what a number and a
-- date take, which take half of what names take. What can be had from the rest is not carried along.
known_activities as (

    select
        activities.user_id,
        activities.device_id,

        activities.device_type,
        activities.operating_system,
        activities.kind,

        users.user_number * {{ 2 * longest_gap_days }} + 1
        + {{ dbt.datediff("users.registered_date", "activities.activity_date", "day") }} as day_number,
        activities.duration_seconds,
        activities.page_view_count,
        activities.amount,

        activities.happened_at,
        activities.started_time

    from activities
    inner join users
        on
            activities.user_id = users.user_id
            and {{ date_after("users.registered_date", -1) }} <= activities.activity_date

),

days as (

    select
        -- Before all columns, as `lag` looks for it in every row.
        day_number,
        -- All are the same. The order says nothing here, but keeps Postgres from counting each helper's part and adding
        -- them up later.
        min(user_id order by day_number) as user_id,
        max(device_id) as device_id,

        max(device_type) as device_type,
        max(operating_system) as operating_system,

        count(started_time) as sessions_count,
        coalesce(sum(duration_seconds), 0) as sessions_duration_seconds,
        coalesce(sum(page_view_count), 0) as page_views_count,
        count(*) filter (where started_time < '06:00') as night_sessions_count,
        count(*) filter (where started_time >= '06:00' and started_time < '12:00') as morning_sessions_count,
        count(*) filter (where started_time >= '12:00' and started_time < '18:00') as afternoon_sessions_count,
        count(*) filter (where started_time >= '18:00') as evening_sessions_count,
        count(amount) as payments_count,
        coalesce(sum(amount), 0) as payments_amount,
        max(amount) as largest_payment_amount,
        count(kind) as interactions_count,
        {%- for kind in var("interaction_kinds") %}
        count(*) filter (where kind = '{{ kind }}') as {{ kind }}_interactions_count,
        {%- endfor %}

        case
            when count(started_time) > 0
                then
                    coalesce(min(device_type) <> max(device_type), false)
                    or coalesce(min(device_id) <> max(device_id), false)
        end as has_several_devices,

        {{ utc_date("min(happened_at)") }} as activity_date,

        min(happened_at) as first_activity_at,
        max(happened_at) as last_activity_at

    from known_activities
    group by day_number

),

days_in_a_row as (

    select
        *,

        lag(day_number) over (order by day_number) as previous_day_number

    from days

),

days_after_a_day as (

    select
        days_in_a_row.*,

        case
            when days_in_a_row.day_number - days_in_a_row.previous_day_number < {{ longest_gap_days }}
                then {{ date_after("days_in_a_row.activity_date", "previous_day_number - day_number") }}
        end as previous_activity_date

    from days_in_a_row

),

{%- if is_incremental() %}

-- Between two days that are counted may lie others that are not.
days_after_any_day as (

    select
        days_after_a_day.*,

        greatest(
            days_after_a_day.previous_activity_date,
            (
                select max(known.activity_date)
                from {{ this }} as known
                where
                    known.user_id = days_after_a_day.user_id
                    and known.activity_date < days_after_a_day.activity_date
            )
        ) as day_before

    from days_after_a_day

),

{%- endif %}

fct_user_days as (

    select
        user_id,
        device_id,

        device_type,
        operating_system,

        cast(sessions_count as integer) as sessions_count,
        cast(sessions_duration_seconds as bigint) as sessions_duration_seconds,
        cast(page_views_count as bigint) as page_views_count,
        cast(night_sessions_count as integer) as night_sessions_count,
        cast(morning_sessions_count as integer) as morning_sessions_count,
        cast(afternoon_sessions_count as integer) as afternoon_sessions_count,
        cast(evening_sessions_count as integer) as evening_sessions_count,
        cast(payments_count as integer) as payments_count,
        cast(payments_amount as numeric(38, 6)) as payments_amount,
        cast(largest_payment_amount as numeric(38, 6)) as largest_payment_amount,
        cast(interactions_count as integer) as interactions_count,
        {%- for kind in var("interaction_kinds") %}
        cast({{ kind }}_interactions_count as integer) as {{ kind }}_interactions_count,
        {%- endfor %}
        {{ dbt.datediff(day_before, "activity_date", "day") }} as days_since_previous_activity,
        {{ next_change_number() }} as change_number,

        has_several_devices,

        activity_date,

        first_activity_at,
        last_activity_at

    from {{ "days_after_any_day" if is_incremental() else "days_after_a_day" }}

)

select * from fct_user_days
