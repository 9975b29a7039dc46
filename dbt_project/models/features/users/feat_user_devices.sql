with

sums as (

    select * from {{ ref("user_sums_as_of_dates") }}

),

-- Without device ids the number of devices is unknown, not zero.
feat_user_devices as (

    select
        user_id,

        last_device_type,
        last_operating_system,

        nullif(devices_count, 0) as devices_count,
        nullif(device_types_count, 0) as device_types_count,
        cast(
            cast(device_switch_days_count_life as numeric) / nullif(session_days_count_life, 0) as double precision
        ) as device_switch_days_share,

        as_of_date

    from sums

)

select * from feat_user_devices
