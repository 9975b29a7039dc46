{{
    config(
        materialized="table",
        indexes=[{"columns": ["as_of_date", "user_id", "event_type"], "unique": true}],
    )
}}

with

open_events as (

    select * from {{ ref("open_events") }}
    where as_of_date = {{ as_of_date() }}

),

examples as (

    select * from {{ ref("training_examples") }}
    where
        event_type is not null
        and as_of_date < {{ as_of_date() }}

),

-- Who is inactive by another rule than the fixed one is known only after training: everybody may be.
inactive_users as (

    select * from {{ ref("feat_user_behaviour") }}
    where
        as_of_date = {{ as_of_date() }}
        and {{ "is_inactive" if (setting("inactivity_definition") | trim) == "fixed" else "true" }}

),

open_event_types as (

    select distinct event_type
    from open_events

),

user_event_types_as_of_dates as (

    select
        inactive_users.user_id,

        open_event_types.event_type,

        inactive_users.as_of_date

    from inactive_users
    cross join open_event_types
    union distinct
    select
        user_id,

        event_type,

        as_of_date

    from examples

)

select * from user_event_types_as_of_dates
