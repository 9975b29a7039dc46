with

touches as (

    select * from {{ source("raw", "touches") }}

),

stg_raw__touches as (

    select
        touch_id,
        user_id,

        channel,
        campaign,
        kind,

        cost,

        touched_at

    from touches

)

select * from stg_raw__touches
