with

feat_user_behaviour as (

    select
        user_id,

        tenure_days,
        days_since_first_activity,
        days_since_last_activity,
        days_since_last_session,
        days_since_last_interaction,
        {%- for name in window_measures()[:4] %}
        {%- for column in window_names(name) %}
        {{ column }},
        {%- endfor %}
        {%- endfor %}

        is_inactive,

        as_of_date,

        last_activity_at

    from {{ ref("user_features_of_sums") }}

)

select * from feat_user_behaviour
