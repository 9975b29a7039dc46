with

due as (

    {{ users_as_built("user_social_versions") }}

),

versions as (

    select * from {{ ref("user_social_versions") }}

),

feat_user_social as (

    select
        due.user_id,

        coalesce(versions.friends_count, 0) as friends_count,
        coalesce(versions.active_friends_count, 0) as active_friends_count,
        coalesce(versions.friends_returned_count_28d, 0) as friends_returned_count_28d,
        cast(coalesce(versions.friends_payments_amount_365d, 0) as numeric(38, 6)) as friends_payments_amount_365d,
        coalesce(versions.social_influence_degree_normalised, 0) as social_influence_degree_normalised,

        due.as_of_date

    from due
    left join versions
        on
            due.user_id = versions.user_id
            and {{ holds_at("versions", "due.as_of_date") }}

)

select * from feat_user_social
