with

due as (

    {{ due_user_dates() }}

),

users as (

    select * from {{ ref("dim_users") }}

),

user_days as (

    select * from {{ ref("fct_user_days") }}

),

days_before as (

    select
        due.user_id,

        user_days.sessions_count,
        user_days.sessions_duration_seconds,
        user_days.interactions_count,
        {{ dbt.datediff("user_days.activity_date", "due.as_of_date", "day") }} as days_ago,

        due.as_of_date,

        user_days.last_activity_at

    from due
    inner join user_days
        on
            due.user_id = user_days.user_id
            and user_days.activity_date < due.as_of_date

),

sums as (

    select
        user_id,

        {{ sums_by_window("1", "active_days_count") }},
        {{ sums_by_window("sessions_count", "sessions_count") }},
        {{ sums_by_window("sessions_duration_seconds", "sessions_duration_seconds") }},
        {{ sums_by_window("interactions_count", "interactions_count") }},
        min(days_ago) as days_since_last_activity,
        max(days_ago) as days_since_first_activity,
        min(case when sessions_count > 0 then days_ago end) as days_since_last_session,
        min(case when interactions_count > 0 then days_ago end) as days_since_last_interaction,

        as_of_date,

        max(last_activity_at) as last_activity_at

    from days_before
    group by user_id, as_of_date

),

feat_user_behaviour as (

    select
        due.user_id,

        {{ dbt.datediff("users.registered_date", "due.as_of_date", "day") }} as tenure_days,
        sums.days_since_first_activity,
        sums.days_since_last_activity,
        sums.days_since_last_session,
        sums.days_since_last_interaction,
        {{ zero_where_missing(
            "sums",
            ["active_days_count", "sessions_count", "sessions_duration_seconds", "interactions_count"],
        ) }},

        coalesce(sums.days_since_last_activity > {{ setting("inactive_after_days") }}, true) as is_inactive,

        due.as_of_date,

        sums.last_activity_at

    from due
    inner join users
        on due.user_id = users.user_id
    left join sums
        on
            due.user_id = sums.user_id
            and due.as_of_date = sums.as_of_date

)

select * from feat_user_behaviour
