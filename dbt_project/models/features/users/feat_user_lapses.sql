with

due as (

    {{ users_as_built("user_lapses_versions") }}

),

versions as (

    select * from {{ ref("user_lapses_versions") }}

),

feat_user_lapses as (

    select
        due.user_id,

        coalesce(versions.lapses_count, 0) as lapses_count,
        coalesce(versions.returns_count, 0) as returns_count,
        coalesce(versions.returns_after_contact_count, 0) as returns_after_contact_count,
        coalesce(versions.returns_count - versions.returns_after_contact_count, 0) as returns_without_contact_count,
        versions.mean_ended_lapse_days,
        versions.longest_ended_lapse_days,
        {{ dbt.datediff("versions.last_returned_date", "due.as_of_date", "day") }} as days_since_last_return,

        due.as_of_date

    from due
    left join versions
        on
            due.user_id = versions.user_id
            and {{ holds_at("versions", "due.as_of_date") }}

)

select * from feat_user_lapses
