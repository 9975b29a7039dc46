with

sums as (

    select * from {{ ref("user_sums_as_of_dates") }}

),

-- What is divided by is null where there is nothing to share out: then the share is unknown.
counts as (

    select
        *,

        cast(nullif(active_days_count_life, 0) as numeric) as active_days_count,
        cast(nullif(sessions_count_life, 0) as numeric) as sessions_count,
        cast(nullif(gaps_count_life, 0) as numeric) as gaps_count,
        {{ dbt.datediff("last_activity_date", "as_of_date", "day") }} as current_gap_days

    from sums

),

feat_user_rhythm as (

    select
        user_id,

        {%- for day in weekday_names() %}
        cast({{ day }}_days_count_life / active_days_count as double precision) as {{ day }}_share,
        {%- endfor %}
        cast(
            (saturday_days_count_life + sunday_days_count_life) / active_days_count as double precision
        ) as weekend_share,
        {%- for part in ["night", "morning", "afternoon", "evening"] %}
        cast({{ part }}_sessions_count_life / sessions_count as double precision) as {{ part }}_share,
        {%- endfor %}
        cast(sessions_count / active_days_count as double precision) as sessions_per_active_day_mean,
        cast(sessions_duration_seconds_life / sessions_count as double precision) as session_mean_seconds,
        cast(page_views_count_life / sessions_count as double precision) as page_views_per_session_mean,
        cast(gaps_days_life / gaps_count as double precision) as gaps_mean_days,
        cast(
            sqrt(
                (gaps_count * cast(gaps_square_days_life as numeric) - cast(gaps_days_life as numeric) * gaps_days_life)
                / nullif(gaps_count * (gaps_count - 1), 0)
            ) as double precision
        ) as gaps_deviation_days,
        gaps_longest_days,
        cast(current_gap_days * gaps_count / nullif(gaps_days_life, 0) as double precision)
            as current_gap_to_mean_gap_ratio,

        as_of_date

    from counts

)

select * from feat_user_rhythm
