with

due as (

    {{ users_as_built("user_items_versions") }}

),

known as (

    select * from {{ ref("known_user_items") }}

),

feat_user_items as (

    select
        due.user_id,

        known.favourite_category,

        coalesce(known.categories_count_life, 0) as categories_count_life,
        coalesce(known.new_categories_count_90d, 0) as new_categories_count_90d,

        due.as_of_date

    from due
    left join known
        on
            due.user_id = known.user_id
            and due.as_of_date = known.as_of_date

)

select * from feat_user_items
