with

friendships as (

    select * from {{ ref("stg_raw__friendships") }}

),

-- A friendship counts for both, whoever of the two the source names first.
both_directions as (

    select
        user_id,
        friend_id,

        befriended_at

    from friendships
    union all
    select
        friend_id as user_id,
        user_id as friend_id,

        befriended_at

    from friendships

),

int_friendships_mirrored as (

    select
        user_id,
        friend_id,

        min(befriended_at) as befriended_at

    from both_directions
    where user_id <> friend_id
    group by user_id, friend_id

)

select * from int_friendships_mirrored
