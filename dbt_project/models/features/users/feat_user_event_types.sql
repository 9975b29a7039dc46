{{
    config(
        unique_key=["user_id", "as_of_date", "event_type"],
        indexes=[{"columns": ["as_of_date", "user_id", "event_type"], "unique": true}],
    )
}}

with

due as (

    select * from {{ ref("user_event_types_as_of_dates") }}
    {%- if is_incremental() %}
    where as_of_date >= {{ first_date_to_redo("as_of_date", example_redo_days()) }}
    {%- endif %}

),

contacts as (

    select * from {{ ref("fct_exposures") }}
    where is_contact

),

responses as (

    select * from {{ ref("fct_responses") }}

),

returns as (

    select * from {{ ref("label_example_return_14d") }}
    where
        arm = 'treated'
        and has_returned

),

contacts_before as (

    select
        due.user_id,

        due.event_type,

        count(*) as contacts_count,

        due.as_of_date,
        max(contacts.exposed_date) as last_contact_date

    from due
    inner join contacts
        on
            due.user_id = contacts.user_id
            and due.event_type = contacts.event_type
            and contacts.exposed_date < due.as_of_date
    group by due.user_id, due.event_type, due.as_of_date

),

responses_before as (

    select
        due.user_id,

        due.event_type,

        count(*) as responses_count,

        due.as_of_date

    from due
    inner join responses
        on
            due.user_id = responses.user_id
            and due.event_type = responses.event_type
            and responses.responded_date < due.as_of_date
    group by due.user_id, due.event_type, due.as_of_date

),

returns_before as (

    select
        due.user_id,

        due.event_type,

        count(*) as returns_count,

        due.as_of_date

    from due
    inner join returns
        on
            due.user_id = returns.user_id
            and due.event_type = returns.event_type
            and returns.returned_at < {{ start_of_day("due.as_of_date") }}
    group by due.user_id, due.event_type, due.as_of_date

),

feat_user_event_types as (

    select
        due.user_id,

        due.event_type,

        coalesce(contacts_before.contacts_count, 0) as event_type_contacts_count,
        coalesce(responses_before.responses_count, 0) as event_type_responses_count,
        coalesce(returns_before.returns_count, 0) as event_type_returns_count,
        {{ dbt.datediff("contacts_before.last_contact_date", "due.as_of_date", "day") }}
            as days_since_last_event_type_contact,

        due.as_of_date

    from due
    left join contacts_before
        on
            due.user_id = contacts_before.user_id
            and due.event_type = contacts_before.event_type
            and due.as_of_date = contacts_before.as_of_date
    left join responses_before
        on
            due.user_id = responses_before.user_id
            and due.event_type = responses_before.event_type
            and due.as_of_date = responses_before.as_of_date
    left join returns_before
        on
            due.user_id = returns_before.user_id
            and due.event_type = returns_before.event_type
            and due.as_of_date = returns_before.as_of_date

)

select * from feat_user_event_types
