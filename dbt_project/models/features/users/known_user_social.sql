with

versions as (

    {{ versions_as_of_dates("user_social_versions") }}

),

known_user_social as (

    select
        user_id,

        friends_count,
        active_friends_count,
        friends_returned_count_28d,
        friends_payments_amount_365d,
        social_influence_degree_normalised,

        as_of_date

    from versions

)

select * from known_user_social
