with

events as (

    select * from {{ source("raw", "events") }}

),

stg_raw__events as (

    select
        event_id,

        event_type,
        title,

        reward_cost,
        contact_cost,
        capacity,

        starts_at,
        ends_at

    from events

)

select * from stg_raw__events
