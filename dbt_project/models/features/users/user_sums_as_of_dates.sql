with

versions as (

    select * from {{ ref("user_sums_versions") }}

),

dates as (

    {{ dates_of("user_sums_versions") }}

),

user_sums_as_of_dates as (

    select
        versions.*,

        dates.as_of_date

    from dates
    inner join versions
        on {{ holds_at("versions", "dates.as_of_date") }}
    where {{ is_due("dates", "versions") }}

)

select * from user_sums_as_of_dates
