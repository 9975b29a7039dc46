with

friendships as (

    select * from {{ source("raw", "friendships") }}

),

stg_raw__friendships as (

    select
        user_id,
        friend_id,
        _landing_id as landing_id,

        since as befriended_at

    from friendships

)

select * from stg_raw__friendships
