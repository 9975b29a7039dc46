with

due as (

    {{ users_as_built("user_social_versions") }}

),

known as (

    select * from {{ ref("known_user_social") }}

),

feat_user_social as (

    select
        due.user_id,

        coalesce(known.friends_count, 0) as friends_count,
        coalesce(known.active_friends_count, 0) as active_friends_count,
        coalesce(known.friends_returned_count_28d, 0) as friends_returned_count_28d,
        cast(coalesce(known.friends_payments_amount_365d, 0) as numeric(38, 6)) as friends_payments_amount_365d,
        coalesce(known.social_influence_degree_normalised, 0) as social_influence_degree_normalised,

        due.as_of_date

    from due
    left join known
        on
            due.user_id = known.user_id
            and due.as_of_date = known.as_of_date

)

select * from feat_user_social
