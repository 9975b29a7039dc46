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


{#- The first date of fct_user_days that late rows may still change as far as a run knows, as a SQL date. -#}
{% macro first_open_date() -%}
    {%- set question -%}
        select {{ date_after("coalesce(max(activity_date), " ~ as_of_date() ~ ")", "-" ~ setting("late_arrival_days")) }}
        from {{ ref("fct_user_days") }}
        where activity_date < {{ as_of_date() }}
    {%- endset -%}
    cast('{{ run_query(question).columns[0].values()[0] if execute }}' as date)
{%- endmacro %}


{#- The first day of the year after the newest one in the table being built, as a SQL date. -#}
{% macro first_year_not_in(years) -%}
    {%- set question -%}
        select coalesce(max(cast(extract(year from year_date) as integer)) + 1, 1) from {{ years }}
    {%- endset -%}
    {%- set year = run_query(question).columns[0].values()[0] if execute else 1 -%}
    cast('{{ "%04d" | format(year | int) }}-01-01' as date)
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
    The newest date before as_of_date for which the table being built holds everybody, and the first day that was still
    open to late rows at that time; nothing where there is no such run. Dates of examples hold a few users: whoever
    has the first and the last id is looked for, and should both be few, the run only has more to compute.
-#}
{% macro run_before_this() -%}
    {%- set question -%}
        select
            known.as_of_date,
            (
                select max(sums.last_activity_date) - {{ setting("late_arrival_days") }}
                from {{ this }} as sums
                where sums.as_of_date = known.as_of_date
            ) as open_from_date
        from (
            select as_of_date
            from {{ this }}
            where
                as_of_date < {{ as_of_date() }}
                and user_id in (
                    select min(users.user_id) from {{ ref("dim_users") }} as users
                    union all
                    select max(users.user_id) from {{ ref("dim_users") }} as users
                )
            group by as_of_date
            order by count(*) desc, as_of_date desc
            limit 1
        ) as known
    {%- endset -%}
    {%- set rows = run_query(question).rows if execute else [] -%}
    {%- if rows | length == 0 or rows[0][1] is none -%}
        {{ return(none) }}
    {%- endif -%}
    {{ return({"as_of_date": "cast('" ~ rows[0][0] ~ "' as date)", "open_from_date": "cast('" ~ rows[0][1] ~ "' as date)"}) }}
{%- endmacro %}


{#- The columns of the table being built, in their order. -#}
{% macro columns_of_this() -%}
    {{ return(adapter.get_columns_in_relation(this) | map(attribute="name") | list) }}
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
    {#- What is written once cannot be read before: it is told by what was asked for. #}
    {%- set computed = "(" ~ due_user_dates() ~ ")" if config.get("is_written_once", false) else source %}

    delete from {{ target }}
    where as_of_date = {{ as_of_date() }};

    delete from {{ target }}
    where ({{ key }}) in (select {{ key }} from {{ computed }} as computed where as_of_date <> {{ as_of_date() }});

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


{#-
    Incremental strategy `replace_from`: everything from the first date that late rows may still change is replaced. The
    model's `unique_key` is its date column.
-#}
{% macro get_incremental_replace_from_sql(arg_dict) -%}
    {%- set target = arg_dict["target_relation"] -%}
    {%- set columns = get_quoted_csv(arg_dict["dest_columns"] | map(attribute="name")) -%}
    {%- set day = arg_dict["unique_key"] %}

    delete from {{ target }}
    where {{ day }} >= {{ first_date_to_redo(day, setting("late_arrival_days")) }};

    insert into {{ target }} ({{ columns }})
    select {{ columns }} from {{ arg_dict["temp_relation"] }};
{%- endmacro %}


{#-
    Incremental strategy `replace_open` of the lapses: of the users that were computed again, lapses that go on or ended
    where late rows may still change something are replaced; what ended before stays.
-#}
{% macro get_incremental_replace_open_sql(arg_dict) -%}
    {%- set target = arg_dict["target_relation"] -%}
    {%- set source = arg_dict["temp_relation"] -%}
    {%- set columns = get_quoted_csv(arg_dict["dest_columns"] | map(attribute="name")) -%}
    {%- set key = arg_dict["unique_key"] %}

    delete from {{ target }}
    where
        {{ key }} in (select {{ key }} from {{ source }})
        and (
            returned_date is null
            or returned_date >= {{ first_date_to_redo("last_activity_date", setting("late_arrival_days")) }}
        );

    insert into {{ target }} ({{ columns }})
    select {{ columns }} from {{ source }};
{%- endmacro %}
