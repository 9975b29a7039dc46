{#-
    dbt fills a table with an enforced contract by `insert into ... select`, which Postgres never plans in parallel;
    `create table as` it does. The contract has been compared with the columns before, so the table is the same.
    What an incremental run computes of versions, or for its date alone, is a view: its rows are read once, and go
    straight to where they belong.
-#}
{% macro postgres__create_table_as(temporary, relation, sql) -%}
    {%- set contract = config.get("contract") -%}
    {{ config.get("sql_header", "") }}
    {%- if contract.enforced %}
    {{ get_assert_columns_equivalent(sql) }}
    {%- endif %}
    {%- if temporary and config.get("incremental_strategy") in ("replace_versions", "replace_as_of") %}
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


{#-
    After a table was filled for the first time: collects its statistics at once. Without them a model that reads it in
    the same run is planned by guesses, and with millions of rows a guess may cost hours. Later runs leave it to autovacuum.
-#}
{% macro analyze_when_new() -%}
    {%- if execute and model.config.materialized in ("table", "incremental") -%}
        {{ return(adapter.dispatch("analyze_when_new")()) }}
    {%- endif -%}
{%- endmacro %}


{% macro default__analyze_when_new() -%}
{%- endmacro %}


{% macro postgres__analyze_when_new() -%}
    {%- set question -%}
        select count(*)
        from pg_catalog.pg_stats
        where schemaname = '{{ this.schema }}' and tablename = '{{ this.identifier }}'
    {%- endset -%}
    {%- if run_query(question).columns[0].values()[0] == 0 -%}
        analyze {{ this }}
    {%- endif -%}
{%- endmacro %}
