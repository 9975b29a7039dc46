{#-
    History that lands after the tables were first built: files of past years that are loaded later, a table that the
    source did not have at first. A daily run looks `late_arrival_days` back and would never see it. So a run that builds
    days of users first counts what has landed since the one before and lies before what it will look at. Few such rows are
    left out and told of, as devices send some every day; if they are many, all tables are built anew: they learn of it by
    `history_landing()`.
-#}
{% macro notice_history() -%}
    {%- set takes_up_landings = (
        execute
        and flags.WHICH in ("build", "run")
        and "model.rekindle.fct_user_days" in selected_resources
    ) -%}
    {%- if takes_up_landings -%}
        {%- do adapter.dispatch("notice_history", "rekindle")() -%}
    {%- endif -%}
{%- endmacro %}

{% macro default__notice_history() -%}
{%- endmacro %}

{% macro postgres__notice_history() -%}
    {%- if flags.FULL_REFRESH -%}
        {%- do write_rows_left_out(0) -%}
        {%- do return("") -%}
    {%- endif -%}
    {%- set built_dates = relation_of("int_built_dates") -%}
    {%- set days = relation_of("fct_user_days") -%}
    {%- if not exists(built_dates) or not exists(days) -%}
        {%- do return("") -%}
    {%- endif -%}
    {%- set known = run_query(
        "select (select max(landing_id) from " ~ built_dates ~ " where relation_name = 'fct_user_days'),"
        ~ " (select max(landing_id) from " ~ source("audit", "landings") ~ ")"
    ).rows[0] -%}
    {%- if known[0] is none or known[1] is none or known[1] <= known[0] -%}
        {%- do return("") -%}
    {%- endif -%}
    {%- set looked_at_from = first_date_to_redo("activity_date", setting("late_arrival_days"), days) -%}
    {%- set counted = [] -%}
    {%- for table, moment, longer_days in [
        ("sessions", "started_at", 0),
        ("payments", "paid_at", 0),
        ("interactions", "occurred_at", 0),
        ("friendships", "since", 0),
        ("exposures", "exposed_at", setting("return_window_days")),
        ("responses", "responded_at", 0),
    ] -%}
        {%- set history -%}
            {{ source("raw", table) }} as landed
            {#- What lies before the registration, but for a day of doubt, was told by a wrong clock: none counts it. #}
            inner join {{ source("raw", "users") }} as users
                on
                    landed.user_id = users.user_id
                    and {{ utc_date("landed." ~ moment) }} >= {{ date_after(utc_date("users.registered_at"), -1) }}
            where
                landed._landing_id > {{ known[0] }}
                and landed.{{ moment }} < {{ start_of_day(date_after(looked_at_from, "-" ~ longer_days)) }}
        {%- endset -%}
        {%- do counted.append({"name": table, "rows": rows_of_history(source("raw", table), history)}) -%}
    {%- endfor -%}
    {#- Items say what interactions were about; who looks for old ones with new items reads all, so new items come first. -#}
    {%- set new_items = source("raw", "items") ~ " as items where items._landing_id > " ~ known[0] -%}
    {%- if is_much(rows_of_history(source("raw", "items"), new_items)) -%}
        {%- set history -%}
            {{ source("raw", "interactions") }} as landed
            inner join {{ source("raw", "items") }} as items
                on landed.item_id = items.item_id
            where
                items._landing_id > {{ known[0] }}
                and landed.occurred_at < {{ start_of_day(looked_at_from) }}
        {%- endset -%}
        {%- set rows = rows_of_history(source("raw", "interactions"), history) -%}
        {%- do counted.append({"name": "interactions with new items", "rows": rows}) -%}
    {%- endif -%}
    {%- set much = [] -%}
    {%- set told = [] -%}
    {%- for count in counted if count["rows"]["found"] > 0 -%}
        {%- do told.append("{:,} {}".format(count["rows"]["found"], count["name"])) -%}
        {%- do much.append(count["name"]) if is_much(count["rows"]) -%}
    {%- endfor -%}
    {%- if much -%}
        {%- do run_query(
            "insert into " ~ built_dates ~ " (relation_name, landing_id, as_of_date) values ('history', "
            ~ known[1] ~ ", " ~ as_of_date() ~ ") on conflict (relation_name, as_of_date) do update"
            ~ " set landing_id = excluded.landing_id"
        ) -%}
        {%- do log(
            "History has landed (rows: " ~ told | join(", ") ~ "): all tables are built anew, which takes longer than a day.",
            info=true
        ) -%}
    {%- endif -%}
    {%- do write_rows_left_out(0 if much else counted | map(attribute="rows.found") | sum) -%}
    {%- if told and not much -%}
        {%- do exceptions.warn(
            "Rows that came too late are not counted (" ~ told | join(", ") ~ "): they happened more than "
            ~ setting("late_arrival_days") ~ " days before the run that should have seen them. To count them, run once: "
            ~ "python -m local dbt run --full-refresh"
        ) -%}
    {%- endif -%}
{%- endmacro %}


{#- What `reporting.system_health` shows of rows that no table counts, committed with all that was noticed before. -#}
{% macro write_rows_left_out(rows) -%}
    {%- set statement -%}
        insert into {{ source("audit", "health_checks") }} (as_of_date, "check", status, value)
        values ({{ as_of_date() }}, 'rows that came too late', '{{ "warning" if rows else "ok" }}', {{ rows }})
        on conflict (as_of_date, "check") do update
            set status = excluded.status, value = excluded.value, checked_at = excluded.checked_at
    {%- endset -%}
    {%- do run_query(statement) -%}
    {%- do run_query("commit") -%}
{%- endmacro %}


{#- How many rows a from clause finds, and how many the table has, as Postgres has counted them last, if it has. -#}
{% macro rows_of_history(table, history) -%}
    {%- set question -%}
        select
            count(*),
            (
                select case when reltuples > 0 then reltuples else (select count(*) from {{ table }}) end
                from pg_catalog.pg_class
                where oid = to_regclass('{{ table.include(database=false) }}')
            )
        from {{ history }}
    {%- endset -%}
    {%- set counts = run_query(question).rows[0] -%}
    {%- do return({"found": counts[0], "all": counts[1]}) -%}
{%- endmacro %}


{% macro is_much(rows) -%}
    {%- do return(rows["found"] * 1000 > rows["all"] * (setting("history_per_thousand") | int)) -%}
{%- endmacro %}


{#- The newest landing that brought history since tables were first built; none as long as none did. -#}
{% macro history_landing() -%}
    {%- set built_dates = relation_of("int_built_dates") -%}
    {%- if not exists(built_dates) -%}
        {%- do return(none) -%}
    {%- endif -%}
    {%- set question -%}
        select max(landing_id) from {{ built_dates }} where relation_name = 'history'
    {%- endset -%}
    {%- do return(run_query(question).columns[0].values()[0]) -%}
{%- endmacro %}


{#- The table of a model, where `ref` would make the model wait for it. -#}
{% macro relation_of(model_name) -%}
    {%- if not execute -%}
        {%- do return(this) -%}
    {%- endif -%}
    {%- set node = graph.nodes["model.rekindle." ~ model_name] -%}
    {%- do return(api.Relation.create(database=target.database, schema=node.schema, identifier=node.alias)) -%}
{%- endmacro %}


{% macro exists(relation) -%}
    {%- set question -%}
        select to_regclass('{{ relation.include(database=false) }}') is not null
    {%- endset -%}
    {%- do return(run_query(question).columns[0].values()[0]) -%}
{%- endmacro %}
