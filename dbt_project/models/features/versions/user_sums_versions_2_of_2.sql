{{ config(pre_hook="{{ carry_over_whom_days_leave(2) }}") }}
with

user_sums_versions_2_of_2 as (

    {{ user_sums_of_half(2) }}

)

select * from user_sums_versions_2_of_2
