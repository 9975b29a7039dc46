with

sums as (

    select * from {{ ref("user_sums_as_of_dates") }}

),

users as (

    select * from {{ ref("stg_raw__users") }}

),

refunds as (

    {{ versions_as_of_dates("user_refunds_versions") }}

),

-- What is divided by is null where there is nothing to share out: then the share is unknown. Counts are divided as
-- floating point: exact to the last bit of the share, and many times cheaper than as numeric.
days_and_counts as (

    select
        sums.*,

        registered.country,
        registered.language,
        registered.acquisition_channel,
        registered.attributes,
        registered.birth_year,
        coalesce(refunds.refunds_count_life, 0) as refunds_count_life,
        cast(coalesce(refunds.refunds_amount_life, 0) as numeric(38, 6)) as refunds_amount_life,
        cast(nullif(sums.active_days_count_life, 0) as double precision) as known_active_days_count,
        cast(nullif(sums.sessions_count_life, 0) as double precision) as known_sessions_count,
        cast(nullif(sums.gaps_count_life, 0) as double precision) as known_gaps_count,
        {{ dbt.datediff("registered.registered_date", "sums.as_of_date", "day") }} as tenure_days,
        {{ dbt.datediff("registered.registered_date", "sums.last_activity_date", "day") }}
            as tenure_at_last_activity_days,
        {{ dbt.datediff("sums.first_payment_date", "sums.as_of_date", "day") }} as days_since_first_payment,
        {{ dbt.datediff("sums.last_payment_date", "sums.as_of_date", "day") }} as days_since_last_payment,
        -- Unknown, hence null, for a user who never paid.
        case when sums.paying_days_count_life > 0 then sums.paying_days_count_life - 1 end as repeat_purchase_days_count

    from sums
    -- Looked up one by one, so that who reads a range of users does not go through all of them: no join carries a range
    -- over. A user has one row; the limit keeps the lookup a lookup.
    cross join
        lateral ( -- noqa: ST05
            select
                users.country,
                users.language,
                users.acquisition_channel,
                users.birth_year,
                users.attributes,
                {{ utc_date("users.registered_at") }} as registered_date
            from users
            where users.user_id = sums.user_id
            limit 1 -- noqa: AM09
        ) as registered
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
        country,
        language,
        acquisition_channel,
        {%- for column in var("user_attributes") %}
        {{ json_text("attributes", var("user_attributes")[column]) }} as {{ column }},
        {%- endfor %}

        {%- for column in var("numeric_user_attributes") %}
        {{ json_number("attributes", var("numeric_user_attributes")[column]) }} as {{ column }},
        {%- endfor %}
        cast(extract(year from as_of_date) as integer) - cast(birth_year as integer) as age_years,
        tenure_days,
        days_since_first_activity,
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
        cast(device_switch_days_count_life as double precision)
        / nullif(session_days_count_life, 0) as device_switch_days_share,

        -- Shares are unknown, hence null, for a user without any interaction.
        {%- for kind in var("interaction_kinds") %}
        {{ kind }}_interactions_count_90d,
        cast({{ kind }}_interactions_count_life as double precision)
        / nullif(interactions_count_life, 0) as {{ kind }}_interactions_share,
        {%- endfor %}

        first_paying_day_amount,
        last_paying_day_amount,
        cast(2 * payments_amount_90d - payments_amount_180d as numeric(38, 6)) as payments_amount_trend_90d,
        refunds_count_life,
        refunds_amount_life,
        cast(paying_days_count_life as double precision) / nullif(active_days_count_life, 0) as paying_days_share,
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
        {{ day }}_days_count_life / known_active_days_count as {{ day }}_share,
        {%- endfor %}
        (saturday_days_count_life + sunday_days_count_life) / known_active_days_count as weekend_share,
        {%- for part in ["night", "morning", "afternoon", "evening"] %}
        {{ part }}_sessions_count_life / known_sessions_count as {{ part }}_share,
        {%- endfor %}
        known_sessions_count / known_active_days_count as sessions_per_active_day_mean,
        sessions_duration_seconds_life / known_sessions_count as session_mean_seconds,
        page_views_count_life / known_sessions_count as page_views_per_session_mean,
        gaps_days_life / known_gaps_count as gaps_mean_days,
        sqrt(
            (known_gaps_count * gaps_square_days_life - cast(gaps_days_life as double precision) * gaps_days_life)
            / nullif(known_gaps_count * (known_gaps_count - 1), 0)
        ) as gaps_deviation_days,
        gaps_longest_days,
        days_since_last_activity * known_gaps_count / nullif(gaps_days_life, 0) as current_gap_to_mean_gap_ratio,

        is_inactive,

        as_of_date,

        last_activity_at

    from days_and_counts

)

select * from user_features_of_sums
