{{
    config(
        unique_key=["user_id", "event_type", "valid_from_date"],
        indexes=[
            {"columns": ["user_id", "event_type", "valid_from_date"], "unique": true},
            {"columns": ["valid_until_date", "user_id"]},
        ],
    )
}}

{%- set run_before = run_before_this() %}
{%- if run_before %}
{%- call keep_changed_users() %}
select user_id
from {{ ref("fct_exposures") }}
where
    exposed_date >= {{ date_after(run_before["open_from_date"], "-" ~ setting("return_window_days")) }}
    and exposed_date < {{ as_of_date() }}
union distinct
select user_id
from {{ ref("fct_responses") }}
where
    responded_at >= {{ start_of_day(run_before["open_from_date"]) }}
    and responded_at < {{ as_of_at() }}
{%- endcall %}
{%- endif %}

{{ begins_after_the_largest() }}

with

happened as (

    select
        user_id,

        event_type,

        'contact' as kind,

        exposed_date as known_date

    from {{ ref("fct_exposures") }}
    where is_contact
    union all
    select
        user_id,

        event_type,

        'response' as kind,

        responded_date as known_date

    from {{ ref("fct_responses") }}
    union all
    select
        user_id,

        event_type,

        'return' as kind,

        {{ utc_date("returned_at") }} as known_date

    from {{ ref("fct_exposures") }}
    where
        arm = 'treated'
        and returned_at is not null

),

examples as (

    select distinct
        user_id,

        event_type,

        as_of_date

    from {{ ref("label_example_return_14d") }}
    where
        event_type is not null
        and as_of_date < {{ as_of_date() }}
    {%- if run_before %}
    and as_of_date >= {{ date_after(run_before["as_of_date"], "-" ~ example_redo_days()) }}
    {%- endif %}

),

types_of_users as (

    select distinct
        happened.user_id,

        happened.event_type

    from happened
    {%- if run_before %}
    inner join {{ this.identifier }}__changed_users as changed_users
        on happened.user_id = changed_users.user_id
    {%- endif %}
    where happened.known_date < {{ as_of_date() }}

),

due as (

    select
        user_id,

        event_type,

        {{ as_of_date() }} as as_of_date

    from types_of_users
    union all
    select
        user_id,

        event_type,

        as_of_date

    from examples

),

user_event_types_versions as (

    select
        due.user_id,

        due.event_type,

        sum(case when happened.kind = 'contact' then 1 else 0 end) as event_type_contacts_count,
        sum(case when happened.kind = 'response' then 1 else 0 end) as event_type_responses_count,
        sum(case when happened.kind = 'return' then 1 else 0 end) as event_type_returns_count,

        {{ validity("due.as_of_date") }},
        max(case when happened.kind = 'contact' then happened.known_date end) as last_contact_date

    from due
    inner join happened
        on
            due.user_id = happened.user_id
            and due.event_type = happened.event_type
            and happened.known_date < due.as_of_date
    group by due.user_id, due.event_type, due.as_of_date

)

select * from user_event_types_versions
