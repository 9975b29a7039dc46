with

due as (

    {{ users_as_built("user_items_versions") }}

),

versions as (

    select * from {{ ref("user_items_versions") }}

),

feat_user_items as (

    select
        due.user_id,

        versions.favourite_category,

        coalesce(versions.categories_count_life, 0) as categories_count_life,
        coalesce(versions.new_categories_count_90d, 0) as new_categories_count_90d,

        due.as_of_date

    from due
    left join versions
        on
            due.user_id = versions.user_id
            and {{ holds_at("versions", "due.as_of_date") }}

)

select * from feat_user_items
