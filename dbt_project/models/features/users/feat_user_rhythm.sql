with

due as (

    {{ due_user_dates() }}

),

user_days as (

    select * from {{ ref("fct_user_days") }}

),

days_before as (

    select
        due.user_id,

        user_days.sessions_count,
        user_days.sessions_duration_seconds,
        user_days.page_views_count,
        user_days.night_sessions_count,
        user_days.morning_sessions_count,
        user_days.afternoon_sessions_count,
        user_days.evening_sessions_count,
        user_days.days_since_previous_activity,
        {{ weekday("user_days.activity_date") }} as weekday_number,
        {{ dbt.datediff("user_days.activity_date", "due.as_of_date", "day") }} as days_ago,

        due.as_of_date

    from due
    inner join user_days
        on
            due.user_id = user_days.user_id
            and user_days.activity_date < due.as_of_date

),

sums as (

    select
        user_id,

        cast(count(*) as numeric) as active_days_count,
        nullif(sum(sessions_count), 0) as sessions_count,
        sum(sessions_duration_seconds) as sessions_duration_seconds,
        sum(page_views_count) as page_views_count,
        {%- for part in ["night", "morning", "afternoon", "evening"] %}
        sum({{ part }}_sessions_count) as {{ part }}_sessions_count,
        {%- endfor %}
        {%- for number in range(7) %}
        sum(case when weekday_number = {{ number }} then 1 else 0 end) as weekday_{{ number }}_count,
        {%- endfor %}
        avg(days_since_previous_activity) as gaps_mean_days,
        stddev_samp(days_since_previous_activity) as gaps_deviation_days,
        max(days_since_previous_activity) as gaps_longest_days,
        min(days_ago) as current_gap_days,

        as_of_date

    from days_before
    group by user_id, as_of_date

),

-- Shares and means are unknown, hence null, for a user without anything to share out.
feat_user_rhythm as (

    select
        due.user_id,

        {%- for name in ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] %}
        cast(sums.weekday_{{ loop.index0 }}_count / sums.active_days_count as double precision) as {{ name }}_share,
        {%- endfor %}
        cast(
            (sums.weekday_5_count + sums.weekday_6_count) / sums.active_days_count as double precision
        ) as weekend_share,
        {%- for part in ["night", "morning", "afternoon", "evening"] %}
        cast(sums.{{ part }}_sessions_count / sums.sessions_count as double precision) as {{ part }}_share,
        {%- endfor %}
        cast(sums.sessions_count / sums.active_days_count as double precision) as sessions_per_active_day_mean,
        cast(sums.sessions_duration_seconds / sums.sessions_count as double precision) as session_mean_seconds,
        cast(sums.page_views_count / sums.sessions_count as double precision) as page_views_per_session_mean,
        cast(sums.gaps_mean_days as double precision) as gaps_mean_days,
        cast(sums.gaps_deviation_days as double precision) as gaps_deviation_days,
        sums.gaps_longest_days,
        cast(sums.current_gap_days / sums.gaps_mean_days as double precision) as current_gap_to_mean_gap_ratio,

        due.as_of_date

    from due
    left join sums
        on
            due.user_id = sums.user_id
            and due.as_of_date = sums.as_of_date

)

select * from feat_user_rhythm
