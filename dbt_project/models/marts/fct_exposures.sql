{{
    config(
        materialized="incremental",
        incremental_strategy="delete+insert",
        unique_key=["user_id", "exposed_at", "exposure_id"],
        on_schema_change="fail",
        post_hook="{{ remember_run() }}",
        indexes=[
            {"columns": ["user_id", "exposed_at"]},
            {"columns": ["event_id", "exposed_at"]},
            {"columns": ["exposed_date"]},
        ],
    )
}}

{#- Late rows of days that are open change what came of an exposure for as long as its return window is. -#}
{%- set run_before = run_before_this() %}
{%- set redo_from = date_after(
    run_before["open_from_date"], "-" ~ setting("return_window_days")
) if run_before %}

with

exposures as (

    select
        exposure_id,
        event_id,
        user_id,

        channel,
        arm,

        assignment_probability,

        exposed_at

    from {{ ref("stg_raw__exposures") }}
    {%- if run_before %}
    where exposed_at >= {{ start_of_day(redo_from) }}
    -- A response may come at any time.
    union all
    select
        known.exposure_id,
        known.event_id,
        known.user_id,

        known.channel,
        known.arm,

        known.assignment_probability,

        known.exposed_at

    from {{ this }} as known
    where
        known.exposed_at < {{ start_of_day(redo_from) }}
        and (known.user_id, known.event_id) in (
            select
                new_responses.user_id,
                new_responses.event_id
            from {{ ref("stg_raw__responses") }} as new_responses
            where new_responses.responded_at >= {{ start_of_day(run_before["open_from_date"]) }}
        )
    {%- endif %}

),

events as (

    select * from {{ ref("stg_raw__events") }}

),

responses as (

    select * from {{ ref("stg_raw__responses") }}

),

lapses as (

    select * from {{ ref("fct_user_lapses") }}

),

exposures_of_events as (

    select
        exposures.exposure_id,
        exposures.event_id,
        exposures.user_id,

        events.event_type,
        exposures.channel,
        exposures.arm,

        cast(exposures.assignment_probability as double precision) as assignment_probability,

        exposures.arm = 'treated' and exposures.channel <> 'none' as is_contact,

        {{ utc_date("exposures.exposed_at") }} as exposed_date,

        exposures.exposed_at

    from exposures
    inner join events
        on exposures.event_id = events.event_id

),

first_responses as (

    select
        exposures_of_events.exposure_id,

        min(responses.responded_at) as responded_at

    from exposures_of_events
    inner join responses
        on
            exposures_of_events.event_id = responses.event_id
            and exposures_of_events.user_id = responses.user_id
            and exposures_of_events.exposed_at <= responses.responded_at
    group by exposures_of_events.exposure_id

),

-- Lapses of a user do not overlap: at most one is going on at the moment of an exposure.
fct_exposures as (

    select
        exposures_of_events.exposure_id,
        exposures_of_events.event_id,
        exposures_of_events.user_id,

        exposures_of_events.event_type,
        exposures_of_events.channel,
        exposures_of_events.arm,

        exposures_of_events.assignment_probability,

        exposures_of_events.is_contact,
        lapses.user_id is not null as is_inactive,

        exposures_of_events.exposed_date,

        exposures_of_events.exposed_at,
        first_responses.responded_at,
        case
            when
                lapses.returned_at
                < {{ days_after("exposures_of_events.exposed_at", setting("return_window_days")) }}
                then lapses.returned_at
        end as returned_at

    from exposures_of_events
    left join lapses
        on
            exposures_of_events.user_id = lapses.user_id
            and lapses.inactive_from_date <= exposures_of_events.exposed_date
            and (lapses.returned_at is null or lapses.returned_at >= exposures_of_events.exposed_at)
    left join first_responses
        on exposures_of_events.exposure_id = first_responses.exposure_id

)

select * from fct_exposures
