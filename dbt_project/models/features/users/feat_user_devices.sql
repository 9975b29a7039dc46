with

due as (

    {{ due_user_dates() }}

),

session_days as (

    select * from {{ ref("fct_user_days") }}
    where sessions_count > 0

),

session_days_before as (

    select
        due.user_id,
        session_days.device_id,

        session_days.device_type,
        session_days.operating_system,

        session_days.has_several_devices,

        due.as_of_date,
        session_days.activity_date

    from due
    inner join session_days
        on
            due.user_id = session_days.user_id
            and session_days.activity_date < due.as_of_date

),

sums as (

    select
        user_id,

        count(distinct device_id) as devices_count,
        count(distinct device_type) as device_types_count,
        count(*) as session_days_count,
        sum(case when has_several_devices then 1 else 0 end) as device_switch_days_count,

        as_of_date,
        max(activity_date) as last_session_date

    from session_days_before
    group by user_id, as_of_date

),

-- Without device ids the number of devices is unknown, not zero.
feat_user_devices as (

    select
        due.user_id,

        session_days.device_type as last_device_type,
        session_days.operating_system as last_operating_system,

        nullif(sums.devices_count, 0) as devices_count,
        nullif(sums.device_types_count, 0) as device_types_count,
        cast(
            cast(sums.device_switch_days_count as numeric) / sums.session_days_count as double precision
        ) as device_switch_days_share,

        due.as_of_date

    from due
    left join sums
        on
            due.user_id = sums.user_id
            and due.as_of_date = sums.as_of_date
    left join session_days
        on
            due.user_id = session_days.user_id
            and sums.last_session_date = session_days.activity_date

)

select * from feat_user_devices
