with

events as (

    select * from {{ ref("stg_raw__events") }}

),

dim_events as (

    select
        event_id,

        event_type,
        title,

        cast(reward_cost as numeric(38, 6)) as reward_cost,
        cast(contact_cost as numeric(38, 6)) as contact_cost,
        capacity,

        {{ utc_date("starts_at") }} as starts_date,
        {{ utc_date("ends_at") }} as ends_date,

        starts_at,
        ends_at

    from events

)

select * from dim_events
