{#-
    The first date an incremental run has to do again, as a SQL date: late rows may still have changed the last
    `redo_days` days, and what lies after the newest date the table holds before the run's date was never done at all. That
    date may come from a device whose clock is fast and be later than the run that took its row up: then the date of that
    run counts, where the table remembers its runs (`remember_landings`). A table that holds none before it does not tell
    how far it was built: then all is done again. `date_column` is the date column of the table being built.
-#}
{% macro first_date_to_redo(date_column, redo_days, relation=this) -%}
    {%- set question -%}
        select
            least(
                coalesce({{ date_after("max(" ~ date_column ~ ")", "-" ~ redo_days) }}, cast('0001-01-01' as date)),
                (
                    select {{ date_after("max(as_of_date)", "-" ~ redo_days) }}
                    from {{ relation_of("int_built_dates") }}
                    where relation_name = '{{ relation.identifier }}' and as_of_date < {{ as_of_date() }}
                )
            )
        from {{ relation }}
        where {{ date_column }} < {{ as_of_date() }}
    {%- endset -%}
    cast('{{ run_query(question).columns[0].values()[0] if execute }}' as date)
{%- endmacro %}


{#-
    The number of the run's changes of fct_user_days: one more than any that a reader has seen, whatever date that was for. Those
    that fct_user_days gave itself are forgotten where it is built anew alone.
-#}
{% macro next_change_number() -%}
    {%- set question -%}
        select coalesce(max(change_number), 0) + 1
        from {{ ref("int_built_dates") }}
    {%- endset -%}
    cast({{ run_query(question).columns[0].values()[0] if execute else 1 }} as bigint)
{%- endmacro %}


{#-
    Which landings the table being built has taken up, written down before its rows are read in the same transaction: a
    landing that ends in between is then looked at twice, never left out.
-#}
{% macro remember_landings() -%}
    {%- if should_full_refresh() %}
    delete from {{ ref("int_built_dates") }}
    where relation_name = '{{ this.identifier }}';
    {%- endif %}

    insert into {{ ref("int_built_dates") }} (relation_name, landing_id, is_for_everybody, as_of_date)
    select
        '{{ this.identifier }}',
        max(landing_id),
        true,
        {{ as_of_date() }}
    from {{ source("audit", "landings") }}
    on conflict (relation_name, as_of_date) do update
    set landing_id = excluded.landing_id;
{%- endmacro %}


{#-
    An index for whoever asks which days changed since a run, made once: what the first run wrote is asked for as a whole,
    and an index of all of it would only cost.
-#}
{% macro index_of_changed_days() -%}
    {%- set question -%}
        select count(*)
        from pg_catalog.pg_indexes
        where schemaname = '{{ this.schema }}' and tablename = '{{ this.identifier }}' and indexdef like '%(change_number)%'
    {%- endset -%}
    {%- if execute and run_query(question).columns[0].values()[0] == 0 -%}
        create index on {{ this }} (change_number) where change_number > 1
    {%- endif -%}
{%- endmacro %}


{#-
    Rows that landed after what the table being built has taken up, as a condition; those without a number are always new.
    The number is asked for, not written down: statistics of before the last landing know no larger one, and Postgres would
    plan for no row at all, where it joins a day's users with a day's rows pair by pair.
-#}
{% macro has_landed_since(landing_column="landing_id") -%}
    {%- set question -%}
        select coalesce(max(landing_id), -1)
        from {{ ref("int_built_dates") }}
        where relation_name = '{{ this.identifier }}'
    {%- endset -%}
    {%- set newest = run_query(question).columns[0].values()[0] if execute else -1 -%}
    ({{ landing_column }} is null or {{ landing_column }} > (select {{ newest }}))
{%- endmacro %}


{#- The newest change of fct_user_days that the table being built holds already. -#}
{% macro change_number_seen() -%}
    {%- set question -%}
        select coalesce(max(change_number), 0)
        from {{ ref("int_built_dates") }}
        where relation_name = '{{ this.identifier }}'
    {%- endset -%}
    {{ run_query(question).columns[0].values()[0] if execute else 0 }}
{%- endmacro %}


{#- The first day on which anything changed that the table being built does not hold yet, as a SQL date. -#}
{% macro first_changed_date() -%}
    {%- set question -%}
        select coalesce(min(activity_date), {{ as_of_date() }})
        from {{ ref("fct_user_days") }}
        where change_number > {{ change_number_seen() }}
    {%- endset -%}
    cast('{{ run_query(question).columns[0].values()[0] if execute }}' as date)
{%- endmacro %}


{#- Rows of users of whom a day changed that the table being built does not hold yet, as a condition. -#}
{% macro is_of_changed_users() -%}
    user_id in (
        select changed_days.user_id
        from {{ ref("fct_user_days") }} as changed_days
        where changed_days.change_number > {{ change_number_seen() }}
    )
{%- endmacro %}


{#-
    Users and when they registered, as a query. In an incremental run these are the users of rows of `relation` (those that meet
    `condition`, if there is one), looked up one by one: a join would go through everybody for the few.
-#}
{% macro users_of(relation, condition=none) -%}
    {%- if is_incremental() -%}
    select
        concerned.user_id,

        known.registered_date

    from (
        select distinct user_id
        from {{ relation }}
        {%- if condition %}
        where {{ condition }}
        {%- endif %}
    ) as concerned
    cross join
        lateral (
            select all_users.registered_date
            from {{ ref("dim_users") }} as all_users
            where all_users.user_id = concerned.user_id
            limit 1 -- noqa: AM09
        ) as known
    {%- else -%}
    select
        user_id,

        registered_date

    from {{ ref("dim_users") }}
    {%- endif -%}
{%- endmacro %}


{#-
    Writes down, in the transaction that wrote the rows, for which date a mart was built, what it holds, and from where on
    late rows could still change it. fct_user_days makes the numbers, the others have seen its newest.
-#}
{% macro remember_run() -%}
    {%- set is_the_one_that_counts = this.identifier == "fct_user_days" %}
    insert into {{ ref("int_built_dates") }} (relation_name, change_number, is_for_everybody, as_of_date, open_from_date)
    select
        '{{ this.identifier }}',
        {% if is_the_one_that_counts %}{{ next_change_number() }}{% else %}coalesce(max(change_number), 0){% endif %},
        true,
        {{ as_of_date() }},
        {{ first_open_date(this) if is_the_one_that_counts else first_open_date() }}
    {%- if not is_the_one_that_counts %}
    from {{ ref("int_built_dates") }}
    where relation_name = 'fct_user_days'
    {%- endif %}
    on conflict (relation_name, as_of_date) do update
    set
        change_number = excluded.change_number,
        is_for_everybody = true,
        open_from_date = excluded.open_from_date;
{%- endmacro %}


{#- The first date of fct_user_days that late rows may still change as far as a run knows, as a SQL date. -#}
{% macro first_open_date(user_days=none) -%}
    {%- set question -%}
        select {{ date_after("coalesce(max(activity_date), " ~ as_of_date() ~ ")", "-" ~ setting("late_arrival_days")) }}
        from {{ user_days or ref("fct_user_days") }}
        where activity_date < {{ as_of_date() }}
    {%- endset -%}
    cast('{{ run_query(question).columns[0].values()[0] if execute }}' as date)
{%- endmacro %}


{#- The first day of the year after the newest one in the table being built, as a SQL date. -#}
{% macro first_year_not_in(years) -%}
    {%- set question -%}
        select coalesce(cast(extract(year from max(year_date)) as integer) + 1, 1) from {{ years }}
    {%- endset -%}
    {%- set year = run_query(question).columns[0].values()[0] if execute else 1 -%}
    cast('{{ "%04d" | format(year | int) }}-01-01' as date)
{%- endmacro %}


{#- How long a training example can still change: until its return window is closed and late rows are in. -#}
{% macro example_redo_days() -%}
    {{ setting("return_window_days") | int + setting("late_arrival_days") | int }}
{%- endmacro %}


{#- Incremental strategy `replace_as_of`: all rows of the run's date are replaced, so that nobody who is gone stays. -#}
{% macro get_incremental_replace_as_of_sql(arg_dict) -%}
    {%- set target = arg_dict["target_relation"] -%}
    {%- set columns = get_quoted_csv(arg_dict["dest_columns"] | map(attribute="name")) %}

    delete from {{ target }}
    where as_of_date = {{ as_of_date() }};

    insert into {{ target }} ({{ columns }})
    select {{ columns }} from {{ arg_dict["temp_relation"] }};
{%- endmacro %}


{#- Appends rows that were computed and whose key is not, or no longer, in the table. -#}
{% macro insert_what_is_not_there(target, source, names, key) -%}
    insert into {{ target }} ({{ names | join(", ") }})
    select {{ names | join(", ") }}
    from {{ source }} as computed
    where not exists (
        select 1
        from {{ target }} as known
        where
            {%- for name in key %}
            known.{{ name }} = computed.{{ name }}{{ " and" if not loop.last }}
            {%- endfor %}
    );
{%- endmacro %}


{#-
    Incremental strategy `replace_range`: the dates from the first to the last one that were computed again are
    replaced: what is no longer there goes, and of the rest what is not as it was. The model's `unique_key` ends with its
    date column.
-#}
{% macro get_incremental_replace_range_sql(arg_dict) -%}
    {%- set target = arg_dict["target_relation"] -%}
    {%- set source = arg_dict["temp_relation"] -%}
    {%- set names = arg_dict["dest_columns"] | map(attribute="name") | list -%}
    {%- set key = arg_dict["unique_key"] -%}
    {%- set day = key[-1] -%}
    {%- set values = names | reject("in", key) | list %}

    delete from {{ target }} as known
    where
        known.{{ day }} between (select min({{ day }}) from {{ source }}) and (select max({{ day }}) from {{ source }})
        and not exists (
            select 1
            from {{ source }} as computed
            where
                {%- for name in key %}
                known.{{ name }} = computed.{{ name }} and
                {%- endfor %}
                ({% for name in values %}known.{{ name }}{{ ", " if not loop.last }}{% endfor %})
                is not distinct from ({% for name in values %}computed.{{ name }}{{ ", " if not loop.last }}{% endfor %})
        );

    {{ insert_what_is_not_there(target, source, names, key) }}
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
    Incremental strategy `replace_of_changed`: of users with days that changed, what is open or lies on or after the first
    of these days is replaced; everything else stays. The model's `unique_key` is its date column, null where it is open.
-#}
{% macro get_incremental_replace_of_changed_sql(arg_dict) -%}
    {%- set target = arg_dict["target_relation"] -%}
    {%- set columns = get_quoted_csv(arg_dict["dest_columns"] | map(attribute="name")) -%}
    {%- set day = arg_dict["unique_key"] %}

    delete from {{ target }}
    where
        {{ is_of_changed_users() }}
        and ({{ day }} is null or {{ day }} >= {{ first_changed_date() }});

    insert into {{ target }} ({{ columns }})
    select {{ columns }} from {{ arg_dict["temp_relation"] }};
{%- endmacro %}


{#-
    Incremental strategy `replace_changes`: rows that are no longer as they were are replaced by those computed; the
    others stay, with the change_number of the run that changed them last.
-#}
{% macro get_incremental_replace_changes_sql(arg_dict) -%}
    {%- set target = arg_dict["target_relation"] -%}
    {%- set source = arg_dict["temp_relation"] -%}
    {%- set names = arg_dict["dest_columns"] | map(attribute="name") | list -%}
    {%- set key = arg_dict["unique_key"] -%}
    {%- set values = names | reject("in", key + ["change_number"]) | list %}

    delete from {{ target }} as known
    using {{ source }} as computed
    where
        {%- for name in key %}
        known.{{ name }} = computed.{{ name }} and
        {%- endfor %}
        ({% for name in values %}known.{{ name }}{{ ", " if not loop.last }}{% endfor %})
        is distinct from ({% for name in values %}computed.{{ name }}{{ ", " if not loop.last }}{% endfor %});

    {{ insert_what_is_not_there(target, source, names, key) }}
{%- endmacro %}


{#-
    Incremental strategy `replace_of_users`: of the users that were computed, what lies on or after the first date that
    was computed is replaced. The model's `unique_key` is its date column.
-#}
{% macro get_incremental_replace_of_users_sql(arg_dict) -%}
    {%- set target = arg_dict["target_relation"] -%}
    {%- set source = arg_dict["temp_relation"] -%}
    {%- set columns = get_quoted_csv(arg_dict["dest_columns"] | map(attribute="name")) -%}
    {%- set day = arg_dict["unique_key"] %}

    delete from {{ target }}
    where
        user_id in (select computed.user_id from {{ source }} as computed)
        and {{ day }} >= (select min(computed.{{ day }}) from {{ source }} as computed);

    insert into {{ target }} ({{ columns }})
    select {{ columns }} from {{ source }};
{%- endmacro %}
