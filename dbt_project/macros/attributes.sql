{#- The text of one name within a JSON object; null where the object does not have it. -#}
{% macro json_text(document, name) -%}
    {{ adapter.dispatch("json_text", "rekindle")(document, name) }}
{%- endmacro %}

{% macro default__json_text(document, name) -%}
    get_json_object({{ document }}, {{ dbt.string_literal("$." ~ name) }})
{%- endmacro %}

{% macro postgres__json_text(document, name) -%}
    {{ document }} ->> {{ dbt.string_literal(name) }}
{%- endmacro %}
