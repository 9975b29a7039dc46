{{
    config(
        unique_key=["as_of_date", "event_id"],
        indexes=[{"columns": ["as_of_date", "event_id"], "unique": true}],
    )
}}

with

events as (

    select * from {{ ref("dim_events") }}

),

events_open as (

    select *
    from events
    where
        starts_at < {{ days_after(as_of_at(), setting("event_lookahead_days")) }}
        and ends_at > {{ as_of_at() }}

),

contacts as (

    select * from {{ ref("fct_exposures") }}
    where
        event_id in (select events_open.event_id from events_open)
        and is_contact
        and exposed_at < {{ as_of_at() }}

),

users_contacted as (

    select
        event_id,

        count(distinct user_id) as contacted_count

    from contacts
    group by event_id

),

open_events as (

    select
        events_open.event_id,

        events_open.event_type,
        events_open.title,

        cast(events_open.reward_cost as numeric(38, 6)) as reward_cost,
        cast(events_open.contact_cost as numeric(38, 6)) as contact_cost,
        -- Postgres' greatest() passes over null, so that an event without a limit would have no place at all.
        case
            when events_open.capacity is not null
                then cast(
                    greatest(events_open.capacity - coalesce(users_contacted.contacted_count, 0), 0) as bigint
                )
        end as capacity_left,

        {{ as_of_date() }} as as_of_date,

        events_open.starts_at,
        events_open.ends_at

    from events_open
    left join users_contacted
        on events_open.event_id = users_contacted.event_id

)

select * from open_events
