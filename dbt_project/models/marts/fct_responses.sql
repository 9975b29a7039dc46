with

responses as (

    select * from {{ ref("stg_raw__responses") }}

),

events as (

    select * from {{ ref("stg_raw__events") }}

),

fct_responses as (

    select
        responses.response_id,
        responses.event_id,
        responses.user_id,

        events.event_type,

        {{ utc_date("responses.responded_at") }} as responded_date,

        responses.responded_at

    from responses
    inner join events
        on responses.event_id = events.event_id

)

select * from fct_responses
