with

sums as (

    select * from {{ ref("user_sums_as_of_dates") }}

),

users as (

    select * from {{ ref("dim_users") }}

),

feat_user_behaviour as (

    select
        sums.user_id,

        {{ dbt.datediff("users.registered_date", "sums.as_of_date", "day") }} as tenure_days,
        {{ dbt.datediff("sums.first_activity_date", "sums.as_of_date", "day") }} as days_since_first_activity,
        {{ dbt.datediff("sums.last_activity_date", "sums.as_of_date", "day") }} as days_since_last_activity,
        {{ dbt.datediff("sums.last_session_date", "sums.as_of_date", "day") }} as days_since_last_session,
        {{ dbt.datediff("sums.last_interaction_date", "sums.as_of_date", "day") }} as days_since_last_interaction,
        {%- for name in window_measures()[:4] %}
        {%- for column in window_names(name) %}
        sums.{{ column }},
        {%- endfor %}
        {%- endfor %}

        coalesce(
            {{ dbt.datediff("sums.last_activity_date", "sums.as_of_date", "day") }}
            > {{ setting("inactive_after_days") }},
            true
        ) as is_inactive,

        sums.as_of_date,

        sums.last_activity_at

    from sums
    inner join users
        on sums.user_id = users.user_id

)

select * from feat_user_behaviour
