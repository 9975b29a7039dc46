{{ config(alias="system_health") }}

with

health_checks as (

    select * from {{ source("audit", "health_checks") }}

),

expectation_results as (

    select * from {{ source("audit", "expectation_results") }}

),

newest_health_checks as (

    select
        *,

        row_number() over (partition by "check" order by as_of_date desc) as check_number

    from health_checks

),

newest_expectation_results as (

    select
        *,

        row_number() over (
            partition by suite, expectation, column_name, because order by as_of_date desc
        ) as result_number

    from expectation_results

),

unmet_expectations as (

    select
        severity,

        sum(case when is_met then 0 else 1 end) as unmet_count,

        max(as_of_date) as as_of_date

    from newest_expectation_results
    where result_number = 1
    group by severity

),

expectations_checked as (

    select
        'expectations not met (' || severity || ')' as check_name,
        case
            when unmet_count = 0 then 'ok'
            when severity = 'critical' then 'alert'
            else 'warning'
        end as status,

        cast(unmet_count as double precision) as unmet_count,
        cast(0 as double precision) as unmet_limit,

        as_of_date,

        cast(as_of_date as timestamp) at time zone 'UTC' as checked_at

    from unmet_expectations

),

rpt_system_health as (

    select
        "check",
        status,

        value,
        "limit",

        as_of_date,

        checked_at

    from newest_health_checks
    where check_number = 1
    union all
    select
        check_name,
        status,

        unmet_count,
        unmet_limit,

        as_of_date,

        checked_at

    from expectations_checked

)

select * from rpt_system_health
