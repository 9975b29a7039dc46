with

behaviour as (

    select * from {{ ref("feat_user_behaviour") }}
    {%- if is_incremental() %}
    where as_of_date >= {{ first_date_to_redo("as_of_date", example_redo_days()) }}
    {%- endif %}

),

user_days as (

    select * from {{ ref("fct_user_days") }}

),

last_days as (

    select
        user_id,

        tenure_days - days_since_last_activity as tenure_at_last_activity_days,

        as_of_date,
        {{ date_after("as_of_date", "-days_since_last_activity") }} as last_activity_date

    from behaviour

),

-- Counted back from the last active day: what the user was, not what is left of it.
days_before_going_quiet as (

    select
        last_days.user_id,

        user_days.sessions_count,
        user_days.sessions_duration_seconds,
        user_days.interactions_count,
        user_days.payments_amount,
        {{ dbt.datediff("user_days.activity_date", "last_days.last_activity_date", "day") }} as days_before_last,

        last_days.as_of_date

    from last_days
    inner join user_days
        on
            last_days.user_id = user_days.user_id
            and user_days.activity_date <= last_days.last_activity_date
            and {{ date_after("last_days.last_activity_date", -56) }} < user_days.activity_date

),

levels as (

    select
        user_id,

        {%- for name in ["sessions_count", "sessions_duration_seconds", "interactions_count", "payments_amount"] %}
        sum(case when days_before_last < 28 then {{ name }} else 0 end) as last_{{ name }},
        sum(case when days_before_last >= 28 then {{ name }} else 0 end) as earlier_{{ name }},
        {%- endfor %}
        sum(case when days_before_last < 28 then 1 else 0 end) as last_active_days_count,
        sum(case when days_before_last >= 28 then 1 else 0 end) as earlier_active_days_count,

        as_of_date

    from days_before_going_quiet
    group by user_id, as_of_date

),

feat_user_level as (

    select
        last_days.user_id,

        last_days.tenure_at_last_activity_days,
        {%- for name in [
            "active_days_count", "sessions_count", "sessions_duration_seconds", "interactions_count", "payments_amount"
        ] %}
        cast(levels.last_{{ name }} as double precision) as level_{{ name }}_28d,
        cast((levels.last_{{ name }} - levels.earlier_{{ name }}) / 28.0 as double precision) as slope_{{ name }}_28d,
        {%- endfor %}

        last_days.as_of_date

    from last_days
    left join levels
        on
            last_days.user_id = levels.user_id
            and last_days.as_of_date = levels.as_of_date

)

select * from feat_user_level
