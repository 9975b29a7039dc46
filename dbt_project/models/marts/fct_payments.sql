with

payments as (

    select * from {{ ref("stg_raw__payments") }}

),

-- A refund takes money back: it is no payment of the user, and its amount counts against revenue.
fct_payments as (

    select
        payment_id,
        user_id,
        item_id,
        landing_id,

        kind,
        currency,

        cast(amount as numeric(38, 6)) as amount,
        cast(case when kind = 'refund' then -amount else amount end as numeric(38, 6)) as net_amount,

        kind = 'refund' as is_refund,

        {{ utc_date("paid_at") }} as paid_date,

        paid_at

    from payments

)

select * from fct_payments
