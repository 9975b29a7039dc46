{#-
    dbt fills a table with an enforced contract by `insert into ... select`, which Postgres never plans in parallel;
    `create table as` it does. The contract has been compared with the columns before, so the table is the same.
    What an incremental run computes of versions is a view: its rows are read once, and go straight to what differs.
-#}
{% macro postgres__create_table_as(temporary, relation, sql) -%}
    {%- set contract = config.get("contract") -%}
    {{ config.get("sql_header", "") }}
    {%- if contract.enforced %}
    {{ get_assert_columns_equivalent(sql) }}
    {%- endif %}
    {%- if temporary and config.get("incremental_strategy") == "replace_versions" %}
    create temporary view {{ relation }} as (
    {%- elif temporary %}
    create temporary table {{ relation }} as (
    {%- else %}
    create table {{ relation }} as (
    {%- endif %}
    {%- if contract.enforced %}
        {{ get_select_subquery(sql) }}
    {%- else %}
        {{ sql }}
    {%- endif %}
    );
{%- endmacro %}
