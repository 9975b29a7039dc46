{#-
    A whole number of rekindle.toml or of dbt_project.yml, as text: calculate with `setting("...") | int`. Building with a
    value nobody chose would be worse than stopping.
-#}
{% macro setting(name) -%}
    {%- set value = var(name, none) -%}
    {%- if value is none and execute -%}
        {{ exceptions.raise_compiler_error(
            "The dbt variable '" ~ name ~ "' is missing: run dbt with the variables of Settings.dbt_vars, "
            ~ "for example --vars '{\"as_of_date\": \"2018-01-02\", ...}'."
        ) }}
    {%- endif -%}
    {{ value }}
{%- endmacro %}


{#- The date everything is known strictly before, as a SQL date. -#}
{% macro as_of_date() -%}
    cast('{{ setting("as_of_date") }}' as date)
{%- endmacro %}


{#- The moment everything is known strictly before: 00:00 UTC of the as_of_date. -#}
{% macro as_of_at() -%}
    {{ start_of_day(as_of_date()) }}
{%- endmacro %}
