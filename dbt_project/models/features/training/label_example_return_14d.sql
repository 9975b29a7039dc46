{{
    config(
        materialized="incremental",
        incremental_strategy="replace_range",
        unique_key=["example_id", "as_of_date"],
        indexes=[{"columns": ["as_of_date", "example_id"]}],
    )
}}

{%- set largest_draw = [
    setting("unexposed_examples_per_event") | int, setting("natural_examples_per_date") | int
] | max %}
{%- set redo_from = first_date_to_redo("as_of_date", example_redo_days()) if is_incremental() %}

with

users as (

    {{ users_of(ref("fct_exposures"), "exposed_date >= " ~ redo_from) }}

),

exposures as (

    select * from {{ ref("fct_exposures") }}

),

-- Who was exposed, to what and when: treated and control alike.
exposed_examples as (

    select
        'exposure:' || exposures.exposure_id as example_id,
        exposures.user_id,
        exposures.event_id,

        exposures.event_type,
        exposures.channel,
        exposures.arm,

        exposures.assignment_probability,

        exposures.is_inactive,

        exposures.exposed_date as as_of_date,

        exposures.exposed_at as reference_at,
        exposures.returned_at

    from exposures
    inner join users
        on
            exposures.user_id = users.user_id
            and users.registered_date < exposures.exposed_date
    where
        exposures.exposed_date < {{ as_of_date() }}
        {%- if is_incremental() %}
        and exposures.exposed_date >= {{ redo_from }}
        {%- endif %}

),

-- An event is offered to those left out at the moment its first exposure happened.
event_starts as (

    select
        event_id,
        event_type,

        substr(md5(event_id), 1, 8) as begin_key,

        min(exposed_date) as as_of_date,

        min(exposed_at) as reference_at

    from exposures
    {%- if is_incremental() %}
    where
        event_id in (
            select recent.event_id
            from {{ ref("fct_exposures") }} as recent
            where recent.exposed_date >= {{ redo_from }}
        )
    {%- endif %}
    group by event_id, event_type

),

-- Dates without any event: what lapsed users do when nobody asks them. Counted from 1970, so that no run moves them.
natural_dates as (

    select
        cast(null as text) as event_id,
        cast(null as text) as event_type,

        substr(md5(cast(calendar.as_of_date as text)), 1, 8) as begin_key,

        calendar.as_of_date,

        {{ start_of_day("calendar.as_of_date") }} as reference_at

    from ({{ natural_reference_dates(redo_from) }}) as calendar

),

reference_points as (

    select * from event_starts
    where
        as_of_date < {{ as_of_date() }}
        {%- if is_incremental() %}
        and as_of_date >= {{ redo_from }}
        {%- endif %}
    union all
    select * from natural_dates

),

-- Everybody has a place on a circle (draw_key); each date begins somewhere on it and takes the first inactive users it
-- meets, so that the draw costs by what is drawn, not by how many are inactive.
inactive_users_not_exposed as (

    select
        drawn.user_id,
        reference_points.event_id,

        reference_points.event_type,

        row_number() over (
            partition by reference_points.event_id, reference_points.as_of_date
            order by drawn.round_number, drawn.draw_key, drawn.user_id
        ) as draw_number,

        reference_points.as_of_date,

        reference_points.reference_at,
        drawn.returned_at

    from reference_points
    cross join lateral (
        {%- for round_number, side in [(1, ">="), (2, "<")] %}
        (
            select
                lapses.user_id,

                lapses.draw_key,
                {{ round_number }} as round_number,

                lapses.returned_at

            from {{ ref("fct_user_lapses") }} as lapses
            where
                lapses.draw_key {{ side }} reference_points.begin_key
                and lapses.inactive_from_date <= reference_points.as_of_date
                and (lapses.returned_at is null or lapses.returned_at >= reference_points.reference_at)
                and not exists (
                    select 1
                    from {{ ref("fct_exposures") }} as exposures
                    where
                        exposures.user_id = lapses.user_id
                        and exposures.event_id = reference_points.event_id
                        and exposures.exposed_at
                        < {{ days_after("reference_points.reference_at", setting("return_window_days")) }}
                )
            order by lapses.draw_key, lapses.user_id
            limit {{ largest_draw }}
        )
        {%- if not loop.last %}
        union all
        {%- endif %}
        {%- endfor %}
    ) as drawn

),

-- The length of the first id keeps ids apart that contain the separator themselves.
unexposed_examples as (

    select
        case
            when event_id is null then 'natural:' || cast(as_of_date as text) || ':' || user_id
            else 'unexposed:' || cast(length(event_id) as text) || ':' || event_id || ':' || user_id
        end as example_id,
        user_id,
        event_id,

        event_type,
        cast(null as text) as channel,
        'unexposed' as arm,

        cast(null as double precision) as assignment_probability,

        true as is_inactive,

        as_of_date,

        reference_at,
        returned_at

    from inactive_users_not_exposed
    where
        draw_number <= {{ setting("natural_examples_per_date") }}
        or (event_id is not null and draw_number <= {{ setting("unexposed_examples_per_event") }})

),

examples as (

    select * from exposed_examples
    union all
    select * from unexposed_examples

),

label_example_return_14d as (

    select
        example_id,
        user_id,
        event_id,

        event_type,
        channel,
        arm,

        assignment_probability,

        is_inactive,
        case
            when is_inactive
                then coalesce(
                    returned_at < {{ days_after("reference_at", setting("return_window_days")) }}, false
                )
        end as has_returned,

        as_of_date,

        reference_at,
        case
            when returned_at < {{ days_after("reference_at", setting("return_window_days")) }} then returned_at
        end as returned_at,
        {{ days_after("reference_at", setting("return_window_days")) }} as return_known_at

    from examples

)

select * from label_example_return_14d
