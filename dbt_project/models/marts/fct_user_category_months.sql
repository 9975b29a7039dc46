{{
    config(
        materialized="incremental",
        incremental_strategy="replace_range",
        unique_key="month_date",
        on_schema_change="fail",
        indexes=[{"columns": ["user_id", "month_date"]}],
    )
}}

{%- set redo_from = first_date_to_redo("month_date", setting("late_arrival_days")) if is_incremental() %}

with

interactions as (

    select * from {{ ref("fct_interactions") }}
    {%- if is_incremental() %}
    where occurred_at >= {{ start_of_day(dbt.date_trunc("month", redo_from)) }}
    {%- endif %}

),

items as (

    select * from {{ ref("stg_raw__items") }}

),

fct_user_category_months as (

    select
        interactions.user_id,

        items.category,

        count(*) as interactions_count,

        cast({{ dbt.date_trunc("month", "interactions.occurred_date") }} as date) as month_date,
        min(interactions.occurred_date) as first_occurred_date

    from interactions
    inner join items
        on interactions.item_id = items.item_id
    where items.category is not null
    group by
        interactions.user_id,
        items.category,
        cast({{ dbt.date_trunc("month", "interactions.occurred_date") }} as date)

)

select * from fct_user_category_months
