{%- set run_before = run_before_this() %}
{%- if run_before %}
{%- call keep_changed_users() %}
select distinct user_id
from {{ ref("fct_user_refund_days") }}
where {{ is_open("refunded_date", run_before) }}
{%- endcall %}
{%- endif %}

{{ begins_after_the_largest() }}

with

refund_days as (

    select * from {{ ref("fct_user_refund_days") }}

),

due as (

    {{ due_user_dates(run_before) }}

),

user_refunds_versions as (

    select
        due.user_id,

        cast(sum(refund_days.refunds_count) as bigint) as refunds_count_life,
        cast(sum(refund_days.refunds_amount) as numeric(38, 6)) as refunds_amount_life,

        {{ validity("due.as_of_date") }}

    from due
    inner join refund_days
        on
            due.user_id = refund_days.user_id
            and refund_days.refunded_date < due.as_of_date
    group by due.user_id, due.as_of_date

)

select * from user_refunds_versions
