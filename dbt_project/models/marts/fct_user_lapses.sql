{{
    config(
        materialized="incremental",
        incremental_strategy="replace_of_changed",
        unique_key="returned_date",
        on_schema_change="fail",
        pre_hook="{{ remember_landings() }}",
        post_hook="{{ remember_run() }}",
        indexes=[
            {"columns": ["user_id", "inactive_from_date"], "unique": true},
            {"columns": ["draw_key", "user_id"]},
            {"columns": ["inactive_from_date"]},
        ],
    )
}}

{#- One list of the few days of an incremental run; of all days a list read more than once would be written to disk. -#}
{%- set user_days = "user_days" if is_incremental() else ref("fct_user_days") %}

with

{%- if is_incremental() %}

-- Days of users with days that changed: a lapse that ended before these days stays as it is.
user_days as (

    select * from {{ ref("fct_user_days") }}
    where
        activity_date >= {{ first_changed_date() }}
        and {{ is_of_changed_users() }}

),
{%- endif %}

-- A day that follows the one before after more than the allowed days ends a lapse.
lapses_ended_by_a_return as (

    select
        user_id,

        {{ date_after("activity_date", "-days_since_previous_activity") }} as last_activity_date,

        first_activity_at as returned_at

    from {{ user_days }}
    where days_since_previous_activity > {{ setting("inactive_after_days") }}

),

-- Whoever was active may be in a lapse that goes on.
lapses_going_on as (

    select
        user_id,

        max(activity_date) as last_activity_date,

        cast(null as timestamp with time zone) as returned_at

    from {{ user_days }}
    group by user_id

),

first_days as (

    select
        user_id,

        first_activity_at

    from {{ user_days }}
    where days_since_previous_activity is null

),

-- Whoever registered and did nothing yet is inactive until the first activity.
lapses_before_the_first_activity as (

    {%- if is_incremental() %}

    select
        user_id,

        cast(null as date) as last_activity_date,

        first_activity_at as returned_at

    from first_days
    union all
    select
        known_users.user_id,

        cast(null as date) as last_activity_date,

        cast(null as timestamp with time zone) as returned_at

    from {{ ref("dim_users") }} as known_users
    where
        {{ has_landed_since("known_users.landing_id") }}
        and not exists (
            select 1
            from {{ this }} as known
            where known.user_id = known_users.user_id
        )
        and not exists (
            select 1
            from first_days
            where first_days.user_id = known_users.user_id
        )

    {%- else %}

    select
        known_users.user_id,

        cast(null as date) as last_activity_date,

        first_days.first_activity_at as returned_at

    from {{ ref("dim_users") }} as known_users
    left join first_days
        on known_users.user_id = first_days.user_id

    {%- endif %}

),

lapses as (

    select * from lapses_ended_by_a_return
    union all
    select * from lapses_going_on
    union all
    select * from lapses_before_the_first_activity

),

known_users as (

    {{ users_of("lapses") }}

),

-- Nobody exists before the day after the registration.
lapses_of_users as (

    select
        lapses.user_id,

        lapses.last_activity_date,
        greatest(
            {{ date_after("known_users.registered_date", 1) }},
            {{ date_after("lapses.last_activity_date", setting("inactive_after_days") | int + 1) }}
        ) as inactive_from_date,
        {{ utc_date("lapses.returned_at") }} as returned_date,

        lapses.returned_at

    from lapses
    inner join known_users
        on lapses.user_id = known_users.user_id

),

fct_user_lapses as (

    select
        user_id,

        substr(md5(user_id), 1, 8) as draw_key,

        last_activity_date is not null as has_been_active,

        last_activity_date,
        inactive_from_date,
        returned_date,

        returned_at

    from lapses_of_users
    where
        returned_date is null
        or inactive_from_date <= returned_date

)

select * from fct_user_lapses
