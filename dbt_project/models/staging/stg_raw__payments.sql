with

payments as (

    select * from {{ source("raw", "payments") }}

),

stg_raw__payments as (

    select
        payment_id,
        user_id,
        item_id,
        _landing_id as landing_id,

        kind,
        currency,

        amount,

        paid_at

    from payments

)

select * from stg_raw__payments
