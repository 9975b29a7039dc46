with

users as (

    select * from {{ ref("stg_raw__users") }}

),

dim_users as (

    select
        user_id,
        landing_id,

        country,
        language,
        timezone,
        acquisition_channel,

        birth_year,

        {{ utc_date("registered_at") }} as registered_date,

        registered_at

    from users

)

select * from dim_users
