with

items as (

    select * from {{ source("raw", "items") }}

),

stg_raw__items as (

    select
        item_id,
        _landing_id as landing_id,

        item_kind,
        title,
        category,

        price,

        attributes

    from items

)

select * from stg_raw__items
