{%- set run_before = run_before_this() %}
{%- if run_before %}
{#- New categories come in or are no longer new; a month that is over, or got a late row, may have a new favourite. -#}
{%- call keep_changed_users() %}
select user_id
from {{ ref("fct_user_category_months") }}
where
    (
        month_date >= {{ dbt.date_trunc("month", run_before["open_from_date"]) }}
        and month_date < {{ as_of_date() }}
        and first_occurred_date >= {{ run_before["open_from_date"] }}
    )
    or (
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

user_items_versions as (

    select
        due.user_id,

        favourites_before.category as favourite_category,

        coalesce(new_categories_before.categories_count_life, 0) as categories_count_life,
        coalesce(new_categories_before.new_categories_count_90d, 0) as new_categories_count_90d,

        {{ validity("due.as_of_date") }}

    from due
    {{ "left" if run_before else "inner" }} join new_categories_before
        on
            due.user_id = new_categories_before.user_id
            and due.as_of_date = new_categories_before.as_of_date
    left join favourites_before
        on
            due.user_id = favourites_before.user_id
            and due.as_of_date = favourites_before.as_of_date
            and favourites_before.category_number = 1

)

select * from user_items_versions
