{{
    config(
        unique_key=["as_of_date", "user_id", "event_id"],
        indexes=[{"columns": ["as_of_date", "user_id", "event_id"], "unique": true}],
    )
}}

with

exposures as (

    select * from {{ ref("fct_exposures") }}

),

open_events as (

    select * from {{ ref("open_events") }}
    where as_of_date = {{ as_of_date() }}

),

exposed_pairs as (

    select distinct
        exposures.user_id,
        exposures.event_id,

        open_events.as_of_date

    from exposures
    inner join open_events
        on exposures.event_id = open_events.event_id
    where exposures.exposed_at < {{ as_of_at() }}

)

select * from exposed_pairs
