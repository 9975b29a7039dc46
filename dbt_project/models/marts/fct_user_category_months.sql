{{
    config(
        materialized="incremental",
        incremental_strategy="replace_of_users",
        unique_key="month_date",
        on_schema_change="fail",
        pre_hook="{{ remember_landings() }}",
        indexes=[
            {"columns": ["user_id", "category"]},
            {"columns": ["month_date"]},
        ],
    )
}}

{%- set redo_from = first_date_to_redo("month_date", setting("late_arrival_days")) if is_incremental() %}
{%- set redo_month = "cast(" ~ dbt.date_trunc("month", redo_from) ~ " as date)" if is_incremental() %}

with

interactions as (

    select * from {{ ref("fct_interactions") }}
    {%- if is_incremental() %}
    where
        occurred_at >= {{ start_of_day(redo_month) }}
        and user_id in (
            select new_interactions.user_id
            from {{ ref("fct_interactions") }} as new_interactions
            left join {{ ref("stg_raw__items") }} as items
                on new_interactions.item_id = items.item_id
            where
                new_interactions.occurred_at >= {{ start_of_day(redo_month) }}
                and (
                    {{ has_landed_since("new_interactions.landing_id") }}
                    or (items.item_id is not null and {{ has_landed_since("items.landing_id") }})
                )
        )
    {%- endif %}

),

items as (

    select * from {{ ref("stg_raw__items") }}

),

counted as (

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

),

first_months as (

    select
        counted.user_id,

        counted.category,

        min(counted.month_date) as month_date

    from counted
    {%- if is_incremental() %}
    where
        not exists (
            select 1
            from {{ this }} as known
            where
                known.user_id = counted.user_id
                and known.category = counted.category
                and known.month_date < {{ redo_month }}
        )
    {%- endif %}
    group by counted.user_id, counted.category

),

fct_user_category_months as (

    select
        counted.user_id,

        counted.category,

        counted.interactions_count,

        row_number() over (
            partition by counted.user_id, counted.month_date
            order by counted.interactions_count desc, counted.category asc
        ) = 1 as is_favourite,
        first_months.user_id is not null as is_new,

        counted.month_date,
        counted.first_occurred_date

    from counted
    left join first_months
        on
            counted.user_id = first_months.user_id
            and counted.category = first_months.category
            and counted.month_date = first_months.month_date

)

select * from fct_user_category_months
