with

due as (

    {{ users_as_built("user_lapses_versions") }}

),

known as (

    select * from {{ ref("known_user_lapses") }}

),

feat_user_lapses as (

    select
        due.user_id,

        coalesce(known.lapses_count, 0) as lapses_count,
        coalesce(known.returns_count, 0) as returns_count,
        coalesce(known.returns_after_contact_count, 0) as returns_after_contact_count,
        coalesce(known.returns_without_contact_count, 0) as returns_without_contact_count,
        known.mean_ended_lapse_days,
        known.longest_ended_lapse_days,
        known.days_since_last_return,

        due.as_of_date

    from due
    left join known
        on
            due.user_id = known.user_id
            and due.as_of_date = known.as_of_date

)

select * from feat_user_lapses
