with

due as (

    {{ users_as_built("user_sums_versions") }}

),

users as (

    select * from {{ ref("dim_users") }}

),

feat_user_profile as (

    select
        due.user_id,

        users.country,
        users.language,
        users.acquisition_channel,

        cast(extract(year from due.as_of_date) - users.birth_year as integer) as age_years,

        due.as_of_date

    from due
    inner join users
        on due.user_id = users.user_id

)

select * from feat_user_profile
