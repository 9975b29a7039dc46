with

due as (

    {{ due_user_dates() }}

),

category_months as (

    select * from {{ ref("fct_user_category_months") }}

),

-- Of the month as_of_date lies in only the first dates are used: its counts may hold days that are not over yet.
categories_before as (

    select
        due.user_id,

        category_months.category,

        sum(
            case
                when category_months.month_date < {{ dbt.date_trunc("month", "due.as_of_date") }}
                    then category_months.interactions_count
                else 0
            end
        ) as interactions_count,

        due.as_of_date,
        min(category_months.first_occurred_date) as first_occurred_date

    from due
    inner join category_months
        on
            due.user_id = category_months.user_id
            and category_months.first_occurred_date < due.as_of_date
    group by due.user_id, category_months.category, due.as_of_date

),

categories_ranked as (

    select
        user_id,

        category,

        interactions_count,
        sum(interactions_count) over (partition by user_id, as_of_date) as all_interactions_count,
        row_number() over (
            partition by user_id, as_of_date
            order by interactions_count desc, category asc
        ) as category_number,

        as_of_date,
        first_occurred_date

    from categories_before

),

sums as (

    select
        user_id,

        max(case when category_number = 1 and interactions_count > 0 then category end) as favourite_category,

        count(*) as categories_count_life,
        sum(
            case when first_occurred_date >= {{ date_after("as_of_date", -90) }} then 1 else 0 end
        ) as new_categories_count_90d,
        max(
            case when category_number = 1 then interactions_count / nullif(all_interactions_count, 0) end
        ) as favourite_category_share,

        as_of_date

    from categories_ranked
    group by user_id, as_of_date

),

feat_user_items as (

    select
        due.user_id,

        sums.favourite_category,

        coalesce(sums.categories_count_life, 0) as categories_count_life,
        coalesce(sums.new_categories_count_90d, 0) as new_categories_count_90d,
        cast(sums.favourite_category_share as double precision) as favourite_category_share,

        due.as_of_date

    from due
    left join sums
        on
            due.user_id = sums.user_id
            and due.as_of_date = sums.as_of_date

)

select * from feat_user_items
