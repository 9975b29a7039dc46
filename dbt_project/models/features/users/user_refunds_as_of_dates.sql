with

due as (

    {{ due_user_dates() }}

),

refunds as (

    select * from {{ ref("fct_payments") }}
    where is_refund

),

user_refunds_as_of_dates as (

    select
        due.user_id,

        count(*) as refunds_count_life,
        cast(sum(refunds.amount) as numeric(38, 6)) as refunds_amount_life,

        due.as_of_date

    from due
    inner join refunds
        on
            due.user_id = refunds.user_id
            and refunds.paid_date < due.as_of_date
    group by due.user_id, due.as_of_date

)

select * from user_refunds_as_of_dates
