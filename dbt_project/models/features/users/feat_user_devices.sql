with

feat_user_devices as (

    select
        user_id,

        last_device_type,
        last_operating_system,

        devices_count,
        device_types_count,
        device_switch_days_share,

        as_of_date

    from {{ ref("user_features_of_sums") }}

)

select * from feat_user_devices
