with

users as (

    select * from {{ source("raw", "users") }}

),

stg_raw__users as (

    select
        user_id,
        _landing_id as landing_id,

        country,
        language,
        timezone,
        acquisition_channel,

        birth_year,

        attributes,

        registered_at

    from users

)

select * from stg_raw__users
