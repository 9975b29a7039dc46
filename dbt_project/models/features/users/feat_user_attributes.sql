{{ config(enabled=var("user_attributes") | length > 0) }}

with

due as (

    {{ users_as_built("user_sums_versions") }}

),

users as (

    select * from {{ ref("stg_raw__users") }}

),

feat_user_attributes as (

    select
        due.user_id,

        {%- for name in var("user_attributes") %}
        {{ json_text("users.attributes", name) }} as attribute_{{ name }},
        {%- endfor %}

        due.as_of_date

    from due
    inner join users
        on due.user_id = users.user_id

)

select * from feat_user_attributes
