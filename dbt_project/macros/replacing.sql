{#-
    How relations make way for new ones. By default dbt builds a view beside the old one, swaps their names and drops the
    old one with all that reads it. That takes away views others made on ours, leaves readers without a relation until its
    model comes up, and two drops at once, which both reach the same reader, wait for each other until Postgres ends one:
    "deadlock detected" (dbt-core issue 9246).
-#}
{% materialization view, adapter="postgres" -%}
    {%- set found = load_cached_relation(this) -%}
    {%- set view = this.incorporate(type="view") -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {%- if found is not none and not found.is_view %}
    {{ drop_relation_if_exists(found) }}
    {%- endif %}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {%- call statement("main") %}
    {{ replace_view(view, sql) }}
    {%- endcall %}
    {%- do apply_grants(view, config.get("grants"), should_revoke=should_revoke(found, full_refresh_mode=True)) %}
    {%- do persist_docs(view, model) %}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({"relations": [view]}) }}
{%- endmaterialization %}


{#-
    Gives a view its new query where it stands. Postgres keeps what depends on it as long as columns are only added at the
    end; where one is gone, moved or of another type, the view is dropped with its readers, of which ours are built after it.
-#}
{% macro replace_view(view, sql) -%}
    {%- if config.get("contract").enforced %}
    {{ get_assert_columns_equivalent(sql) }}
    {%- endif %}
    do $replace_view$
    begin
        create or replace view {{ view }} as (
            {{ sql }}
        );
    exception
        when invalid_table_definition then
            {{ one_drop_at_a_time() | replace("select", "perform") }};
            drop view {{ view }} cascade;
            create view {{ view }} as (
                {{ sql }}
            );
    end
    $replace_view$;
{%- endmacro %}


{#- Waits, until the end of the transaction, for whoever drops relations in this warehouse and so reaches their readers. -#}
{% macro one_drop_at_a_time() -%}
    select pg_advisory_xact_lock(hashtext('rekindle: drop of a relation and its readers'))
{%- endmacro %}


{% macro postgres__drop_relation(relation) -%}
    {%- call statement("drop_relation", auto_begin=False) %}
    {{ one_drop_at_a_time() }};
    {{ get_drop_sql(relation) }}
    {%- endcall %}
{%- endmacro %}
