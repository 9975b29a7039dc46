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


{#-
    The number of one name within a JSON object; null where the object does not have it, or something that is no number.
    JSON knows numbers that are too large or too fine for floating point: these are unknown, and rounded to twelve places.
-#}
{% macro json_number(document, name) -%}
    {{ adapter.dispatch("json_number", "rekindle")(document, name) }}
{%- endmacro %}

{% macro default__json_number(document, name) -%}
    {{ dbt.safe_cast(json_text(document, name), dbt.type_float()) }}
{%- endmacro %}

{% macro postgres__json_number(document, name) -%}
    {%- set text = "(" ~ json_text(document, name) ~ ")" -%}
    case
        when
            json_typeof({{ document }} -> {{ dbt.string_literal(name) }}) = 'number'
            -- With a longer exponent not even numeric could hold it.
            and {{ text }} ~ '^-?[0-9]{1,250}([.][0-9]{1,250})?([eE][-+]?[0-9]{1,3})?$'
            then case
                when abs(cast({{ text }} as numeric)) < 1e300
                    then cast(round(cast({{ text }} as numeric), 12) as double precision)
            end
    end
{%- endmacro %}
