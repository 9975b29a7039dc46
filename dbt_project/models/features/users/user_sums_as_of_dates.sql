with

versions as (

    select * from {{ ref("user_sums_versions") }}

),

dates as (

    {{ dates_of("user_sums_versions") }}

),

user_sums_as_of_dates as (

    select
        versions.*,

        {{ dbt.datediff("versions.first_activity_date", "dates.as_of_date", "day") }} as days_since_first_activity,
        {{ dbt.datediff("versions.last_activity_date", "dates.as_of_date", "day") }} as days_since_last_activity,

        coalesce(
            {{ dbt.datediff("versions.last_activity_date", "dates.as_of_date", "day") }}
            > {{ setting("inactive_after_days") }},
            true
        ) as is_inactive,

        dates.as_of_date

    from dates
    inner join versions
        on {{ holds_at("versions", "dates.as_of_date") }}
    where {{ is_due("dates", "versions") }}

)

select * from user_sums_as_of_dates
