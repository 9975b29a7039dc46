{{ config(alias="inactivity_definitions") }}

with

user_activity as (

    select * from {{ source("predictions", "user_activity") }}

),

activity_by_definition as (

    {%- for definition in ["fixed", "rhythm", "p_alive"] %}
    select
        '{{ definition }}' as definition,

        is_inactive_fixed,
        is_inactive_{{ definition }} as is_inactive_by_definition,
        is_inactive,

        as_of_date

    from user_activity
    {% if not loop.last %}union all{% endif %}
    {%- endfor %}

),

rpt_inactivity_definitions as (

    select
        definition,

        count(*) as users_count,
        sum(case when is_inactive_by_definition then 1 else 0 end) as inactive_users_count,
        sum(case when is_inactive_by_definition and not is_inactive_fixed then 1 else 0 end) as added_users_count,
        sum(case when is_inactive_fixed and not is_inactive_by_definition then 1 else 0 end) as removed_users_count,

        min(case when is_inactive = is_inactive_by_definition then 1 else 0 end) = 1 as is_chosen,

        as_of_date

    from activity_by_definition
    group by definition, as_of_date

)

select * from rpt_inactivity_definitions
