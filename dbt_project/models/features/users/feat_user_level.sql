with

sums as (

    select * from {{ ref("user_sums_as_of_dates") }}

),

users as (

    select * from {{ ref("dim_users") }}

),

-- Counted back from the last active day: what the user was, not what is left of it.
feat_user_level as (

    select
        sums.user_id,

        {{ dbt.datediff("users.registered_date", "sums.last_activity_date", "day") }} as tenure_at_last_activity_days,
        {%- for name in level_measures() %}
        sums.last_{{ name }} as level_{{ name }}_28d,
        cast((sums.last_{{ name }} - sums.earlier_{{ name }}) / 28.0 as double precision) as slope_{{ name }}_28d,
        {%- endfor %}

        sums.as_of_date

    from sums
    inner join users
        on sums.user_id = users.user_id

)

select * from feat_user_level
