{{ config(enabled=var("user_attributes") | length + var("numeric_user_attributes") | length > 0) }}

with

feat_user_attributes as (

    select
        user_id,

        {%- for column in var("user_attributes") %}
        {{ column }},
        {%- endfor %}

        {%- for column in var("numeric_user_attributes") %}
        {{ column }},
        {%- endfor %}

        as_of_date

    from {{ ref("user_features_of_sums") }}

)

select * from feat_user_attributes
