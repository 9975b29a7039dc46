{#- Named here, where dbt looks for what a model depends on before anything was run. -#}
{%- set landed_interactions = ref("fct_interactions") %}
{%- set landed_items = ref("stg_raw__items") %}
{%- set run_before = run_before_this() %}
{%- if run_before %}
{#- Who did something with an item, now or before its category was known; whose new categories are new no more; and who
    may have a new favourite, as a month is over. -#}
{%- call keep_changed_users() %}
select interactions.user_id
from {{ landed_interactions }} as interactions
inner join {{ landed_items }} as items
    on interactions.item_id = items.item_id
where
    interactions.occurred_at
    >= {{ start_of_day("cast(" ~ dbt.date_trunc("month", run_before["open_from_date"]) ~ " as date)") }}
    and interactions.occurred_at < {{ as_of_at() }}
    and {{ has_landed_after(run_before, "items.landing_id") }}
union distinct
select user_id
from {{ ref("fct_user_category_months") }}
where
    (
        month_date >= {{ dbt.date_trunc("month", run_before["as_of_date"]) }}
        and month_date < {{ dbt.date_trunc("month", as_of_date()) }}
    )
    or (
        month_date >= {{ dbt.date_trunc("month", date_after(run_before["as_of_date"], -90)) }}
        and month_date < {{ date_after(as_of_date(), -90) }}
        and first_occurred_date >= {{ date_after(run_before["as_of_date"], -90) }}
        and first_occurred_date < {{ date_after(as_of_date(), -90) }}
    )
union distinct
select user_id
from {{ ref("fct_user_days") }}
where
    interactions_count > 0
    and {{ is_changed_day(run_before) }}
{%- endcall %}
{%- endif %}

{{ begins_after_the_largest() }}

with

due as (

    {{ due_user_dates(run_before) }}

),

new_categories_before as (

    select
        due.user_id,

        count(*) as categories_count_life,
        sum(
            case when category_months.first_occurred_date >= {{ date_after("due.as_of_date", -90) }} then 1 else 0 end
        ) as new_categories_count_90d,

        due.as_of_date

    from due
    inner join {{ ref("fct_user_category_months") }} as category_months
        on
            due.user_id = category_months.user_id
            and category_months.is_new
            and category_months.first_occurred_date < due.as_of_date
    group by due.user_id, due.as_of_date

),

-- The month as_of_date lies in does not count: it may hold days that are not over yet.
favourites_before as (

    select
        due.user_id,

        category_months.category,

        row_number() over (
            partition by due.user_id, due.as_of_date
            order by count(*) desc, sum(category_months.interactions_count) desc, category_months.category asc
        ) as category_number,

        due.as_of_date

    from due
    inner join {{ ref("fct_user_category_months") }} as category_months
        on
            due.user_id = category_months.user_id
            and category_months.is_favourite
            and category_months.month_date < {{ dbt.date_trunc("month", "due.as_of_date") }}
    group by due.user_id, category_months.category, due.as_of_date

),

-- One list, grouped: of a join of two lists Postgres takes the result for a few rows, and compares all pairs.
what_is_known as (

    select
        user_id,

        cast(null as text) as favourite_category,

        categories_count_life,
        new_categories_count_90d,

        as_of_date

    from new_categories_before
    union all
    select
        user_id,

        category as favourite_category,

        cast(null as bigint) as categories_count_life,
        cast(null as bigint) as new_categories_count_90d,

        as_of_date

    from favourites_before
    where category_number = 1
    {%- if run_before %}
    -- Of whom something is due that is no longer known, a row says so.
    union all
    select
        user_id,

        cast(null as text) as favourite_category,

        0 as categories_count_life,
        0 as new_categories_count_90d,

        as_of_date

    from due
    {%- endif %}

),

user_items_versions as (

    select
        user_id,

        max(favourite_category) as favourite_category,

        max(categories_count_life) as categories_count_life,
        max(new_categories_count_90d) as new_categories_count_90d,

        {{ validity("as_of_date") }}

    from what_is_known
    group by user_id, as_of_date
    having max(categories_count_life) is not null

)

select * from user_items_versions
