with

versions as (

    {{ versions_as_of_dates("user_lapses_versions") }}

),

known_user_lapses as (

    select
        user_id,

        lapses_count,
        returns_count,
        returns_after_contact_count,
        returns_count - returns_after_contact_count as returns_without_contact_count,
        mean_ended_lapse_days,
        longest_ended_lapse_days,
        {{ dbt.datediff("last_returned_date", "as_of_date", "day") }} as days_since_last_return,

        as_of_date

    from versions

)

select * from known_user_lapses
