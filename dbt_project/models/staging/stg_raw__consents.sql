with

consents as (

    select * from {{ source("raw", "consents") }}

),

stg_raw__consents as (

    select
        consent_id,
        user_id,

        channel,
        purpose,

        is_granted,

        decided_at

    from consents

)

select * from stg_raw__consents
