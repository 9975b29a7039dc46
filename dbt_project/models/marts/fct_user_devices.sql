{{
    config(
        materialized="incremental",
        incremental_strategy="replace_of_changed",
        unique_key="first_used_date",
        on_schema_change="fail",
        post_hook="{{ remember_run() }}",
        indexes=[{"columns": ["user_id", "device_kind", "device_name"], "unique": true}],
    )
}}

{%- set redo_from = first_changed_date() if is_incremental() %}

{#- One list of the few days of an incremental run; of all days a list read twice would be written to disk. -#}
{%- set user_days = "user_days" if is_incremental() else ref("fct_user_days") %}

with

{%- if is_incremental() %}

user_days as (

    select * from {{ ref("fct_user_days") }}
    where
        activity_date >= {{ redo_from }}
        and {{ is_of_changed_users() }}

),
{%- endif %}

devices_used as (

    {%- for kind, column in [("device", "device_id"), ("device_type", "device_type")] %}
    select
        user_id,

        '{{ kind }}' as device_kind,
        {{ column }} as device_name,

        min(activity_date) as first_used_date

    from {{ user_days }}
    where {{ column }} is not null
    group by user_id, {{ column }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}

),

fct_user_devices as (

    select
        devices_used.user_id,

        devices_used.device_kind,
        devices_used.device_name,

        devices_used.first_used_date

    from devices_used
    {%- if is_incremental() %}
    where
        not exists (
            select 1
            from {{ this }} as known
            where
                known.user_id = devices_used.user_id
                and known.device_kind = devices_used.device_kind
                and known.device_name = devices_used.device_name
                and known.first_used_date < {{ redo_from }}
        )
    {%- else %}
    -- Devices of a user side by side, so that a look-up reads one page.
    order by devices_used.user_id
    {%- endif %}

)

select * from fct_user_devices
