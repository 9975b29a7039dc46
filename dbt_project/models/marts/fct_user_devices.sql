{{
    config(
        materialized="incremental",
        incremental_strategy="replace_from",
        unique_key="first_used_date",
        on_schema_change="fail",
        indexes=[{"columns": ["user_id", "device_kind", "device_name"], "unique": true}],
    )
}}

{%- set redo_from = first_date_to_redo("first_used_date", setting("late_arrival_days")) if is_incremental() %}

with

user_days as (

    select * from {{ ref("fct_user_days") }}
    {%- if is_incremental() %}
    where activity_date >= {{ redo_from }}
    {%- endif %}

),

devices_used as (

    {%- for kind, column in [("device", "device_id"), ("device_type", "device_type")] %}
    select
        user_id,

        '{{ kind }}' as device_kind,
        {{ column }} as device_name,

        min(activity_date) as first_used_date

    from user_days
    where {{ column }} is not null
    group by user_id, {{ column }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}

),

{%- if is_incremental() %}

known_devices as (

    select * from {{ this }}
    where first_used_date < {{ redo_from }}

),

{%- else %}

known_devices as (

    select * from devices_used
    where false

),

{%- endif %}

fct_user_devices as (

    select
        devices_used.user_id,

        devices_used.device_kind,
        devices_used.device_name,

        devices_used.first_used_date

    from devices_used
    left join known_devices
        on
            devices_used.user_id = known_devices.user_id
            and devices_used.device_kind = known_devices.device_kind
            and devices_used.device_name = known_devices.device_name
    where known_devices.user_id is null

)

select * from fct_user_devices
