with

identities as (

    select * from {{ source("raw", "identities") }}

),

stg_raw__identities as (

    select
        anonymous_id,
        user_id,

        seen_at

    from identities

)

select * from stg_raw__identities
