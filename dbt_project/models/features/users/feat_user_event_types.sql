with

types_open as (

    select distinct
        event_type,

        as_of_date

    from {{ ref("open_events") }}

),

examples as (

    select * from {{ ref("training_examples") }}

),

event_types as (

    select distinct event_type
    from {{ ref("dim_events") }}

),

-- Everybody towards the types that are open at the date of a run, and examples towards their own type.
due as (

    select
        known_users.user_id,

        event_types.event_type,

        dates.as_of_date

    from {{ ref("int_built_dates") }} as dates
    inner join {{ ref("dim_users") }} as known_users
        on known_users.registered_date < dates.as_of_date
    cross join event_types
    where
        dates.relation_name = 'user_event_types_versions'
        and (
            (
                dates.is_for_everybody
                and (event_types.event_type, dates.as_of_date) in (
                    select
                        types_open.event_type,
                        types_open.as_of_date
                    from types_open
                )
            )
            or exists (
                select 1
                from examples
                where
                    examples.user_id = known_users.user_id
                    and examples.as_of_date = dates.as_of_date
                    and examples.event_type = event_types.event_type
            )
        )

),

known as (

    select * from {{ ref("known_user_event_types") }}

),

feat_user_event_types as (

    select
        due.user_id,

        due.event_type,

        coalesce(known.event_type_contacts_count, 0) as event_type_contacts_count,
        coalesce(known.event_type_responses_count, 0) as event_type_responses_count,
        coalesce(known.event_type_returns_count, 0) as event_type_returns_count,
        known.days_since_last_event_type_contact,

        due.as_of_date

    from due
    left join known
        on
            due.user_id = known.user_id
            and due.event_type = known.event_type
            and due.as_of_date = known.as_of_date

)

select * from feat_user_event_types
