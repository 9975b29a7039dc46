{{ config(pre_hook="{{ carry_over_whom_days_leave(1) }}") }}
with

user_sums_versions_1_of_2 as (

    {{ user_sums_of_half(1) }}

)

select * from user_sums_versions_1_of_2
