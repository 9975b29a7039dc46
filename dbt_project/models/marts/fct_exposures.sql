with

exposures as (

    select * from {{ ref("stg_raw__exposures") }}

),

events as (

    select * from {{ ref("stg_raw__events") }}

),

fct_exposures as (

    select
        exposures.exposure_id,
        exposures.event_id,
        exposures.user_id,

        events.event_type,
        exposures.channel,
        exposures.arm,

        cast(exposures.assignment_probability as double precision) as assignment_probability,

        exposures.arm = 'treated' and exposures.channel <> 'none' as is_contact,

        {{ utc_date("exposures.exposed_at") }} as exposed_date,

        exposures.exposed_at

    from exposures
    inner join events
        on exposures.event_id = events.event_id

)

select * from fct_exposures
