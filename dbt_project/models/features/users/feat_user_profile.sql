with

feat_user_profile as (

    select
        user_id,

        country,
        language,
        acquisition_channel,

        age_years,

        as_of_date

    from {{ ref("user_features_of_sums") }}

)

select * from feat_user_profile
