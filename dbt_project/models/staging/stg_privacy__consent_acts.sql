with

source as (

    select * from {{ source("privacy", "consent_acts") }}

),

stg_privacy__consent_acts as (

    select
        consent_id,
        user_id,

        source,
        channel,
        purpose,

        is_granted,

        decided_at

    from source

)

select * from stg_privacy__consent_acts
