with

users as (

    {{ users_as_built(
        "user_sums_versions", ["country", "language", "acquisition_channel", "birth_year"]
    ) | indent }}

),

feat_user_profile as (

    select
        user_id,

        country,
        language,
        acquisition_channel,

        cast(extract(year from as_of_date) - birth_year as integer) as age_years,

        as_of_date

    from users

)

select * from feat_user_profile
