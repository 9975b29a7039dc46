with

sums as (

    select * from {{ ref("user_sums_as_of_dates") }}

),

users as (

    select * from {{ ref("dim_users") }}

),

refunds as (

    {{ versions_as_of_dates("user_refunds_versions") }}

),

-- What is divided by is null where there is nothing to share out: then the share is unknown.
days_and_counts as (

    select
        sums.*,

        coalesce(refunds.refunds_count_life, 0) as refunds_count_life,
        cast(coalesce(refunds.refunds_amount_life, 0) as numeric(38, 6)) as refunds_amount_life,
        cast(nullif(sums.active_days_count_life, 0) as numeric) as known_active_days_count,
        cast(nullif(sums.sessions_count_life, 0) as numeric) as known_sessions_count,
        cast(nullif(sums.gaps_count_life, 0) as numeric) as known_gaps_count,
        {{ dbt.datediff("users.registered_date", "sums.as_of_date", "day") }} as tenure_days,
        {{ dbt.datediff("users.registered_date", "sums.last_activity_date", "day") }} as tenure_at_last_activity_days,
        {{ dbt.datediff("sums.last_activity_date", "sums.as_of_date", "day") }} as days_since_last_activity,
        {{ dbt.datediff("sums.first_payment_date", "sums.as_of_date", "day") }} as days_since_first_payment,
        {{ dbt.datediff("sums.last_payment_date", "sums.as_of_date", "day") }} as days_since_last_payment,
        -- Unknown, hence null, for a user who never paid.
        case when sums.paying_days_count_life > 0 then sums.paying_days_count_life - 1 end as repeat_purchase_days_count

    from sums
    inner join users
        on sums.user_id = users.user_id
    left join refunds
        on
            sums.user_id = refunds.user_id
            and sums.as_of_date = refunds.as_of_date

),

user_features_of_sums as (

    select
        user_id,
        last_device_type,
        last_operating_system,

        tenure_days,
        {{ dbt.datediff("first_activity_date", "as_of_date", "day") }} as days_since_first_activity,
        days_since_last_activity,
        {{ dbt.datediff("last_session_date", "as_of_date", "day") }} as days_since_last_session,
        {{ dbt.datediff("last_interaction_date", "as_of_date", "day") }} as days_since_last_interaction,
        {%- for name in window_measures() %}
        {%- for column in window_names(name) %}
        {{ column }},
        {%- endfor %}
        {%- endfor %}

        -- Counted back from the last active day: what the user was, not what is left of it.
        tenure_at_last_activity_days,
        {%- for name in level_measures() %}
        last_{{ name }} as level_{{ name }}_28d,
        cast((last_{{ name }} - earlier_{{ name }}) / 28.0 as double precision) as slope_{{ name }}_28d,
        {%- endfor %}

        -- Without device ids the number of devices is unknown, not zero.
        nullif(devices_count, 0) as devices_count,
        nullif(device_types_count, 0) as device_types_count,
        cast(
            cast(device_switch_days_count_life as numeric) / nullif(session_days_count_life, 0) as double precision
        ) as device_switch_days_share,

        -- Shares are unknown, hence null, for a user without any interaction.
        {%- for kind in var("interaction_kinds") %}
        {{ kind }}_interactions_count_90d,
        cast(
            cast({{ kind }}_interactions_count_life as numeric)
            / nullif(interactions_count_life, 0) as double precision
        ) as {{ kind }}_interactions_share,
        {%- endfor %}

        first_paying_day_amount,
        last_paying_day_amount,
        cast(2 * payments_amount_90d - payments_amount_180d as numeric(38, 6)) as payments_amount_trend_90d,
        refunds_count_life,
        refunds_amount_life,
        cast(
            cast(paying_days_count_life as numeric) / nullif(active_days_count_life, 0) as double precision
        ) as paying_days_share,
        cast(payments_amount_life / nullif(payments_count_life, 0) as numeric(38, 6)) as payments_mean_amount,
        cast(largest_payment_amount as numeric(38, 6)) as largest_payment_amount,
        days_since_last_payment,
        days_since_first_payment,
        repeat_purchase_days_count,
        days_since_first_payment - days_since_last_payment as purchase_recency_days,
        days_since_first_payment as purchase_age_days,
        cast(
            (payments_amount_life - first_paying_day_amount) / nullif(repeat_purchase_days_count, 0) as numeric(38, 6)
        ) as repeat_purchase_mean_amount,

        {%- for day in weekday_names() %}
        cast({{ day }}_days_count_life / known_active_days_count as double precision) as {{ day }}_share,
        {%- endfor %}
        cast(
            (saturday_days_count_life + sunday_days_count_life) / known_active_days_count as double precision
        ) as weekend_share,
        {%- for part in ["night", "morning", "afternoon", "evening"] %}
        cast({{ part }}_sessions_count_life / known_sessions_count as double precision) as {{ part }}_share,
        {%- endfor %}
        cast(known_sessions_count / known_active_days_count as double precision) as sessions_per_active_day_mean,
        cast(sessions_duration_seconds_life / known_sessions_count as double precision) as session_mean_seconds,
        cast(page_views_count_life / known_sessions_count as double precision) as page_views_per_session_mean,
        cast(gaps_days_life / known_gaps_count as double precision) as gaps_mean_days,
        cast(
            sqrt(
                (
                    known_gaps_count * cast(gaps_square_days_life as numeric)
                    - cast(gaps_days_life as numeric) * gaps_days_life
                )
                / nullif(known_gaps_count * (known_gaps_count - 1), 0)
            ) as double precision
        ) as gaps_deviation_days,
        gaps_longest_days,
        cast(days_since_last_activity * known_gaps_count / nullif(gaps_days_life, 0) as double precision)
            as current_gap_to_mean_gap_ratio,

        coalesce(days_since_last_activity > {{ setting("inactive_after_days") }}, true) as is_inactive,

        as_of_date,

        last_activity_at

    from days_and_counts

)

select * from user_features_of_sums
