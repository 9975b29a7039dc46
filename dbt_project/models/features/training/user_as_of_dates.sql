{{
    config(
        materialized="table",
        indexes=[{"columns": ["as_of_date", "user_id"], "unique": true}],
    )
}}

with

users as (

    select * from {{ ref("dim_users") }}

),

examples as (

    select * from {{ ref("training_examples") }}

),

user_as_of_dates as (

    select
        user_id,

        {{ as_of_date() }} as as_of_date

    from users
    where registered_at < {{ as_of_at() }}
    union distinct
    select
        user_id,

        as_of_date

    from examples
    where as_of_date < {{ as_of_date() }}

)

select * from user_as_of_dates
