with

exposures as (

    select * from {{ source("raw", "exposures") }}

),

stg_raw__exposures as (

    select
        exposure_id,
        event_id,
        user_id,

        channel,
        arm,

        assignment_probability,

        exposed_at

    from exposures

)

select * from stg_raw__exposures
