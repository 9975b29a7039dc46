with

versions as (

    {{ versions_as_of_dates("user_contacts_versions") }}

),

known_user_contacts as (

    select
        user_id,

        {{ dbt.datediff("last_contact_date", "as_of_date", "day") }} as days_since_last_contact,
        {{ dbt.datediff("last_response_date", "as_of_date", "day") }} as days_since_last_response,
        contacts_count_30d,
        contacts_count_life,
        {%- for channel in var("contact_channels") %}
        {%- for what in ["contacts", "responses", "returns"] %}
        {{ channel }}_{{ what }}_count_life,
        {%- endfor %}
        {%- endfor %}
        responses_count_life,
        responded_events_count_life,

        as_of_date

    from versions

)

select * from known_user_contacts
