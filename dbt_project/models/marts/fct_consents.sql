with

consents as (

    select * from {{ ref("stg_privacy__consent_acts") }}

),

fct_consents as (

    select
        consent_id,
        user_id,

        source,
        channel,
        purpose,

        is_granted,

        {{ utc_date("decided_at") }} as decided_date,

        decided_at

    from consents

)

select * from fct_consents
