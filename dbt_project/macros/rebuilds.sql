{#-
    A table of days that were built one after the other holds what the settings of each day made of it: with another
    number of days until a user counts as inactive, or until a return counts, half of its rows would mean something else
    than the others. So it is built anew as soon as a setting it may rest on is another than the one it was built with,
    and as soon as history has landed that it does not hold (macros/history.sql).
-#}
{% macro should_full_refresh() -%}
    {%- do return(dbt.should_full_refresh() or is_built_with_other_settings()) -%}
{%- endmacro %}


{#- What tells the settings of two builds apart, and the history they know, as the table says it of itself. -#}
{% macro words_of_settings() -%}
    {%- set words = [] -%}
    {%- for name in [
        "inactive_after_days", "return_window_days", "conversion_window_days", "value_horizon_days", "long_revenue_days"
    ] -%}
        {%- do words.append(name ~ " " ~ setting(name)) -%}
    {%- endfor -%}
    {%- set history = history_landing() -%}
    {%- do words.append("history of landing " ~ history) if history is not none -%}
    {%- do return("Built with " ~ words | join(", ") ~ ".") -%}
{%- endmacro %}


{#- Whether the table being built says that it was built with other settings; one from before that was said does not. -#}
{% macro is_built_with_other_settings() -%}
    {%- if not execute or model.config.materialized != "incremental" -%}
        {%- do return(false) -%}
    {%- endif -%}
    {%- set words = adapter.dispatch("words_of_table", "rekindle")() -%}
    {%- do return(words.startswith("Built with ") and words != words_of_settings()) -%}
{%- endmacro %}


{#- Lets the table say which settings it was built with. -#}
{% macro remember_settings() -%}
    {%- if execute and model.config.materialized == "incremental" -%}
        {{ return(adapter.dispatch("remember_settings", "rekindle")()) }}
    {%- endif -%}
{%- endmacro %}


{% macro default__words_of_table() -%}
    {%- do return("") -%}
{%- endmacro %}

{% macro postgres__words_of_table() -%}
    {%- set question -%}
        select coalesce(obj_description(to_regclass('"{{ this.schema }}"."{{ this.identifier }}"'), 'pg_class'), '')
    {%- endset -%}
    {%- do return(run_query(question).columns[0].values()[0]) -%}
{%- endmacro %}


{% macro default__remember_settings() -%}
{%- endmacro %}

{#- Said once: saying it again would end an autovacuum of the table. -#}
{% macro postgres__remember_settings() -%}
    {%- if postgres__words_of_table() != words_of_settings() -%}
        comment on table {{ this }} is '{{ words_of_settings() }}'
    {%- endif -%}
{%- endmacro %}
