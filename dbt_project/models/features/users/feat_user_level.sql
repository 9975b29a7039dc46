with

feat_user_level as (

    select
        user_id,

        tenure_at_last_activity_days,
        {%- for name in level_measures() %}
        level_{{ name }}_28d,
        slope_{{ name }}_28d,
        {%- endfor %}

        as_of_date

    from {{ ref("user_features_of_sums") }}

)

select * from feat_user_level
