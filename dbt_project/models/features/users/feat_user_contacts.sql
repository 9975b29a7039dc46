with

due as (

    {{ users_as_built("user_contacts_versions") }}

),

known as (

    select * from {{ ref("known_user_contacts") }}

),

feat_user_contacts as (

    select
        due.user_id,

        known.days_since_last_contact,
        known.days_since_last_response,
        coalesce(known.contacts_count_30d, 0) as contacts_count_30d,
        coalesce(known.contacts_count_life, 0) as contacts_count_life,
        {%- for channel in var("contact_channels") %}
        {%- for what in ["contacts", "responses", "returns"] %}
        coalesce(known.{{ channel }}_{{ what }}_count_life, 0) as {{ channel }}_{{ what }}_count_life,
        {%- endfor %}
        {%- endfor %}
        coalesce(known.responses_count_life, 0) as responses_count_life,
        coalesce(known.responded_events_count_life, 0) as responded_events_count_life,

        due.as_of_date

    from due
    left join known
        on
            due.user_id = known.user_id
            and due.as_of_date = known.as_of_date

)

select * from feat_user_contacts
