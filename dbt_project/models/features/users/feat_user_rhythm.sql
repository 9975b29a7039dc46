with

feat_user_rhythm as (

    select
        user_id,

        {%- for day in weekday_names() %}
        {{ day }}_share,
        {%- endfor %}
        weekend_share,
        {%- for part in ["night", "morning", "afternoon", "evening"] %}
        {{ part }}_share,
        {%- endfor %}
        sessions_per_active_day_mean,
        session_mean_seconds,
        page_views_per_session_mean,
        gaps_mean_days,
        gaps_deviation_days,
        gaps_longest_days,
        current_gap_to_mean_gap_ratio,

        as_of_date

    from {{ ref("user_features_of_sums") }}

)

select * from feat_user_rhythm
