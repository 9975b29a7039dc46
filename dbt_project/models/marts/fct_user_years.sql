{{
    config(
        materialized="incremental",
        incremental_strategy="append",
        on_schema_change="fail",
        sql_header=settings_of_a_large_sort(),
        indexes=[
            {"columns": ["user_id", "year_date"], "unique": true},
            {"columns": ["year_date"]},
        ],
    )
}}

-- A year is written once, when late rows can no longer change it.
{%- set settled_until = "cast(" ~ dbt.date_trunc("year", first_open_date()) ~ " as date)" %}

with

days as (

    select
        *,

        cast({{ dbt.date_trunc("year", "activity_date") }} as date) as year_date

    from {{ ref("fct_user_day_measures") }}
    where
        activity_date < {{ settled_until }}
        {%- if is_incremental() %}
        and activity_date >= {{ first_year_not_in(this) }}
        {%- endif %}

),

fct_user_years as (

    select
        user_id,

        {%- for name in day_measures() %}
        cast(coalesce(sum({{ name }}), 0) as {{ measure_type(name) }}) as {{ name }},
        {%- endfor %}
        {%- for name in largest_measures()[:2] %}
        max({{ name }}) as {{ name }},
        {%- endfor %}

        year_date,
        {%- for name in earliest_measures() %}
        min({{ name }}) as {{ name }},
        {%- endfor %}
        {%- for name in largest_measures()[2:-1] %}
        max({{ name }}) as {{ name }},
        {%- endfor %}

        max(last_activity_at) as last_activity_at

    from days
    group by user_id, year_date

)

select * from fct_user_years
