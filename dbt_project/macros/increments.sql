{#-
    The first date an incremental run has to do again, as a SQL date: late rows may still have changed the last
    `redo_days` days, and what lies after the newest date the table holds before the run's date was never done at all.
    `date_column` is the date column of the table being built.
-#}
{% macro first_date_to_redo(date_column, redo_days) -%}
    {%- set question -%}
        select {{ date_after("coalesce(max(" ~ date_column ~ "), " ~ as_of_date() ~ ")", "-" ~ redo_days) }}
        from {{ this }}
        where {{ date_column }} < {{ as_of_date() }}
    {%- endset -%}
    cast('{{ run_query(question).columns[0].values()[0] if execute }}' as date)
{%- endmacro %}


{#- How long a training example can still change: until its return window is closed and late rows are in. -#}
{% macro example_redo_days() -%}
    {{ setting("return_window_days") | int + setting("late_arrival_days") | int }}
{%- endmacro %}


{#-
    The pairs of user and date whose features this run computes: everybody at as_of_date, and the dates training
    examples refer to, in an incremental run only the recent ones.
-#}
{% macro due_user_dates() -%}
    select
        user_id,

        as_of_date

    from {{ ref("user_as_of_dates") }}
    {%- if is_incremental() %}
    where as_of_date >= {{ first_date_to_redo("as_of_date", example_redo_days()) }}
    {%- endif %}
{%- endmacro %}


{#-
    Incremental strategy `replace_as_of`: all rows of the run's date are replaced, so that nobody who is gone stays;
    rows of other dates are replaced one by one where they were computed again; all other rows stay.
-#}
{% macro get_incremental_replace_as_of_sql(arg_dict) -%}
    {%- set target = arg_dict["target_relation"] -%}
    {%- set source = arg_dict["temp_relation"] -%}
    {%- set columns = get_quoted_csv(arg_dict["dest_columns"] | map(attribute="name")) -%}
    {%- set key = arg_dict["unique_key"] | join(", ") %}

    delete from {{ target }}
    where as_of_date = {{ as_of_date() }};

    delete from {{ target }}
    where ({{ key }}) in (select {{ key }} from {{ source }} where as_of_date <> {{ as_of_date() }});

    insert into {{ target }} ({{ columns }})
    select {{ columns }} from {{ source }};
{%- endmacro %}


{#-
    Incremental strategy `replace_range`: the dates from the first to the last one that were computed again are
    replaced as a whole. The model's `unique_key` is its date column.
-#}
{% macro get_incremental_replace_range_sql(arg_dict) -%}
    {%- set target = arg_dict["target_relation"] -%}
    {%- set source = arg_dict["temp_relation"] -%}
    {%- set columns = get_quoted_csv(arg_dict["dest_columns"] | map(attribute="name")) -%}
    {%- set day = arg_dict["unique_key"] %}

    delete from {{ target }}
    where {{ day }} between (select min({{ day }}) from {{ source }}) and (select max({{ day }}) from {{ source }});

    insert into {{ target }} ({{ columns }})
    select {{ columns }} from {{ source }};
{%- endmacro %}
