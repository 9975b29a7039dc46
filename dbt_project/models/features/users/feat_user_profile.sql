{{ config(materialized="view") }}

with

sums as (

    select * from {{ ref("user_sums_as_of_dates") }}

),

users as (

    select * from {{ ref("dim_users") }}

),

feat_user_profile as (

    select
        sums.user_id,

        users.country,
        users.language,
        users.acquisition_channel,

        cast(extract(year from sums.as_of_date) - users.birth_year as integer) as age_years,

        sums.as_of_date

    from sums
    inner join users
        on sums.user_id = users.user_id

)

select * from feat_user_profile
