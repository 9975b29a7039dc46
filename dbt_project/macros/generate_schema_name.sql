{#- Schemas are used as they are written: outsiders read marts.dim_users, whoever built it. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
