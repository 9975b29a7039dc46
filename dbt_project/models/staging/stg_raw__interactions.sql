with

interactions as (

    select * from {{ source("raw", "interactions") }}

),

stg_raw__interactions as (

    select
        interaction_id,
        user_id,
        anonymous_id,
        session_id,
        item_id,
        _landing_id as landing_id,

        kind,
        channel,
        query,

        dwell_seconds,

        occurred_at

    from interactions

)

select * from stg_raw__interactions
