with

sessions as (

    select * from {{ ref("stg_raw__sessions") }}

),

fct_sessions as (

    select
        session_id,
        user_id,
        device_id,
        landing_id,

        device_type,
        operating_system,
        browser,
        country,

        duration_seconds,
        page_view_count,

        {{ utc_date("started_at") }} as started_date,

        started_at

    from sessions

)

select * from fct_sessions
