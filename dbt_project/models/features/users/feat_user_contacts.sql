with

due as (

    {{ users_as_built("user_contacts_versions") }}

),

versions as (

    select * from {{ ref("user_contacts_versions") }}

),

feat_user_contacts as (

    select
        due.user_id,

        {{ dbt.datediff("versions.last_contact_date", "due.as_of_date", "day") }} as days_since_last_contact,
        {{ dbt.datediff("versions.last_response_date", "due.as_of_date", "day") }} as days_since_last_response,
        coalesce(versions.contacts_count_30d, 0) as contacts_count_30d,
        coalesce(versions.contacts_count_life, 0) as contacts_count_life,
        {%- for channel in var("contact_channels") %}
        {%- for what in ["contacts", "responses", "returns"] %}
        coalesce(versions.{{ channel }}_{{ what }}_count_life, 0) as {{ channel }}_{{ what }}_count_life,
        {%- endfor %}
        {%- endfor %}
        coalesce(versions.responses_count_life, 0) as responses_count_life,
        coalesce(versions.responded_events_count_life, 0) as responded_events_count_life,

        due.as_of_date

    from due
    left join versions
        on
            due.user_id = versions.user_id
            and {{ holds_at("versions", "due.as_of_date") }}

)

select * from feat_user_contacts
