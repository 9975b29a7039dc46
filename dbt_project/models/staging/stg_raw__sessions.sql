with

sessions as (

    select * from {{ source("raw", "sessions") }}

),

stg_raw__sessions as (

    select
        session_id,
        user_id,
        device_id,
        _landing_id as landing_id,

        device_type,
        operating_system,
        browser,
        country,

        duration_seconds,
        page_view_count,

        started_at

    from sessions

)

select * from stg_raw__sessions
