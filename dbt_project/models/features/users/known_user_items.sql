with

versions as (

    {{ versions_as_of_dates("user_items_versions") }}

),

known_user_items as (

    select
        user_id,

        favourite_category,

        categories_count_life,
        new_categories_count_90d,

        as_of_date

    from versions

)

select * from known_user_items
