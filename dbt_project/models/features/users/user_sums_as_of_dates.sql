with

versions as (

    select * from {{ ref("user_sums_versions_1_of_2") }}
    union all
    select * from {{ ref("user_sums_versions_2_of_2") }}

),

dates as (

    -- A date that both halves were built for, so that nobody sees one of them alone.
    select
        halves.as_of_date,

        bool_and(halves.is_for_everybody) as is_for_everybody

    from {{ ref("int_built_dates") }} as halves
    where halves.relation_name in ('user_sums_versions_1_of_2', 'user_sums_versions_2_of_2')
    group by halves.as_of_date
    having count(*) = 2

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
