{{ config(materialized="view") }}

with

assignments as (

    select * from {{ source("experiments", "assignments") }}

),

publications as (

    select * from {{ source("marketing", "publications") }}

),

exposures as (

    select * from {{ ref("fct_exposures") }}

),

-- A plan that nobody was shown has done nothing.
published_assignments as (

    select assignments.*
    from assignments
    inner join publications
        on assignments.as_of_date = publications.as_of_date
    where assignments.as_of_date < {{ as_of_date() }}

),

-- Whoever is chosen again for the same event keeps the first date: the windows run from there.
assignments_to_events as (

    select
        event_id as campaign_id,
        user_id,

        'rekindle' as planned_by,
        policy as chosen_by,
        arm,
        event_type,
        segment,

        propensity,

        arm <> 'none' as is_treated,

        as_of_date as assigned_date,

        {{ start_of_day("as_of_date") }} as assigned_at,

        row_number() over (
            partition by event_id, user_id
            order by as_of_date
        ) as plan_number

    from published_assignments
    where event_id is not null

),

-- Everything that is done for users, against those for whom nothing is ever done.
assignments_to_the_programme as (

    select
        'programme:' || cast(period as text) as campaign_id,
        user_id,

        'rekindle' as planned_by,
        'programme' as chosen_by,
        case when arm = 'holdout' then 'holdout' else 'programme' end as arm,
        cast(null as text) as event_type,
        segment,

        1 - holdout_share as propensity,

        arm <> 'holdout' as is_treated,

        as_of_date as assigned_date,

        {{ start_of_day("as_of_date") }} as assigned_at,

        row_number() over (
            partition by period, user_id
            order by as_of_date
        ) as plan_number

    from published_assignments
    where
        holdout_share > 0
        and holdout_share < 1

),

exposures_by_the_company as (

    select
        exposures.event_id as campaign_id,
        exposures.user_id,

        'company' as planned_by,
        'company' as chosen_by,
        exposures.arm,
        exposures.event_type,
        'unknown' as segment,

        exposures.assignment_probability as propensity,

        exposures.arm = 'treated' as is_treated,

        exposures.exposed_date as assigned_date,

        exposures.exposed_at as assigned_at,

        row_number() over (
            partition by exposures.event_id, exposures.user_id
            order by exposures.exposed_at, exposures.exposure_id
        ) as plan_number

    from exposures
    left join assignments_to_events
        on
            exposures.event_id = assignments_to_events.campaign_id
            and exposures.user_id = assignments_to_events.user_id
            and assignments_to_events.plan_number = 1
    where
        exposures.is_inactive
        and exposures.exposed_at < {{ as_of_at() }}
        and assignments_to_events.user_id is null

),

all_assignments as (

    select * from assignments_to_events
    union all
    select * from assignments_to_the_programme
    union all
    select * from exposures_by_the_company

),

exp_campaign_assignments as (

    select
        campaign_id,
        user_id,

        planned_by,
        chosen_by,
        arm,
        event_type,
        segment,

        propensity,

        is_treated,

        assigned_date,

        assigned_at

    from all_assignments
    where plan_number = 1

)

select * from exp_campaign_assignments
