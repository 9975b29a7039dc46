{%- set run_before = run_before_this() %}
{%- if run_before %}
{#- Messages, what came of them, and messages that are no longer recent. -#}
{%- call keep_changed_users() %}
select user_id
from {{ ref("fct_exposures") }}
where
    is_contact
    and {{ is_open("exposed_date", run_before) }}
union distinct
select user_id
from {{ ref("fct_exposures") }}
where
    is_contact
    and exposed_date >= {{ date_after(run_before["as_of_date"], -30) }}
    and exposed_date < {{ date_after(as_of_date(), -30) }}
union distinct
select user_id
from {{ ref("fct_exposures") }}
where
    is_contact
    and exposed_date >= {{ date_after(run_before["open_from_date"], "-" ~ setting("return_window_days")) }}
    and returned_at >= {{ start_of_day(run_before["open_from_date"]) }}
    and returned_at < {{ as_of_at() }}
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

due as (

    {{ due_user_dates(run_before) }}

),

contacts_before as (

    select
        due.user_id,

        count(*) as contacts_count_life,
        sum(
            case when contacts.exposed_date >= {{ date_after("due.as_of_date", -30) }} then 1 else 0 end
        ) as contacts_count_30d,
        {%- for channel in var("contact_channels") %}
        sum(case when contacts.channel = '{{ channel }}' then 1 else 0 end) as {{ channel }}_contacts_count,
        sum(
            case
                when contacts.channel = '{{ channel }}' and contacts.responded_at < {{ start_of_day("due.as_of_date") }}
                    then 1
                else 0
            end
        ) as {{ channel }}_responses_count,
        sum(
            case
                when contacts.channel = '{{ channel }}' and contacts.returned_at < {{ start_of_day("due.as_of_date") }}
                    then 1
                else 0
            end
        ) as {{ channel }}_returns_count,
        {%- endfor %}

        due.as_of_date,
        max(contacts.exposed_date) as last_contact_date

    from due
    inner join {{ ref("fct_exposures") }} as contacts
        on
            due.user_id = contacts.user_id
            and contacts.is_contact
            and contacts.exposed_date < due.as_of_date
    group by due.user_id, due.as_of_date

),

responses_before as (

    select
        due.user_id,

        count(*) as responses_count_life,
        count(distinct responses.event_id) as responded_events_count_life,

        due.as_of_date,
        max(responses.responded_date) as last_response_date

    from due
    inner join {{ ref("fct_responses") }} as responses
        on
            due.user_id = responses.user_id
            and responses.responded_date < due.as_of_date
    group by due.user_id, due.as_of_date

),

user_contacts_versions as (

    select
        due.user_id,

        coalesce(contacts_before.contacts_count_30d, 0) as contacts_count_30d,
        coalesce(contacts_before.contacts_count_life, 0) as contacts_count_life,
        {%- for channel in var("contact_channels") %}
        {%- for what in ["contacts", "responses", "returns"] %}
        coalesce(contacts_before.{{ channel }}_{{ what }}_count, 0) as {{ channel }}_{{ what }}_count_life,
        {%- endfor %}
        {%- endfor %}
        coalesce(responses_before.responses_count_life, 0) as responses_count_life,
        coalesce(responses_before.responded_events_count_life, 0) as responded_events_count_life,

        {{ validity("due.as_of_date") }},
        contacts_before.last_contact_date,
        responses_before.last_response_date

    from due
    left join contacts_before
        on
            due.user_id = contacts_before.user_id
            and due.as_of_date = contacts_before.as_of_date
    left join responses_before
        on
            due.user_id = responses_before.user_id
            and due.as_of_date = responses_before.as_of_date
    {%- if not run_before %}
    where
        contacts_before.user_id is not null
        or responses_before.user_id is not null
    {%- endif %}

)

select * from user_contacts_versions
