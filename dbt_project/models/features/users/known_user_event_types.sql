with

versions as (

    {{ versions_as_of_dates("user_event_types_versions") }}

),

known_user_event_types as (

    select
        user_id,

        event_type,

        event_type_contacts_count,
        event_type_responses_count,
        event_type_returns_count,
        {{ dbt.datediff("last_contact_date", "as_of_date", "day") }} as days_since_last_event_type_contact,

        as_of_date

    from versions

)

select * from known_user_event_types
