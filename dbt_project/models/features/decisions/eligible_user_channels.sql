{{ config(materialized="view") }}

with

versions as (

    {{ versions_as_of_dates("user_channels_versions") }}

),

eligible_user_channels as (

    select
        user_id,

        channel,

        as_of_date

    from versions
    where is_eligible

)

select * from eligible_user_channels
