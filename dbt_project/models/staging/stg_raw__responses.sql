with

responses as (

    select * from {{ source("raw", "responses") }}

),

stg_raw__responses as (

    select
        response_id,
        event_id,
        user_id,

        responded_at

    from responses

)

select * from stg_raw__responses
