{#-
    Tables of versions: one row for a user from the first date a row holds for (`valid_from_date`) to before the first
    one it does not (`valid_until_date`). Rows hold sums and dates, never ages, so that whoever does nothing and leaves
    no window keeps the version. Versions of a user do not overlap. Which dates they may be read for stands in int_built_dates.
-#}

{#- What a version that still holds ends with: later than any date, and one that every client can read. -#}
{% macro end_of_time() -%}
    cast('9999-12-31' as date)
{%- endmacro %}


{#-
    The run this one follows: the newest date before as_of_date for which the table being built holds everybody, the first
    day that was still open to late rows then (both as SQL dates), and the newest change of fct_user_days and the newest
    landing it knew of; when as_of_date is built again, what this date knew of, if that is less. None in a full build, and
    before all other runs.
-#}
{% macro run_before_this() -%}
    {%- if not is_incremental() or not execute -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set question -%}
        select
            earlier.as_of_date,
            earlier.open_from_date,
            least(earlier.change_number, again.change_number),
            coalesce(least(earlier.landing_id, again.landing_id), -1)
        from {{ ref("int_built_dates") }} as earlier
        left join {{ ref("int_built_dates") }} as again
            on
                earlier.relation_name = again.relation_name
                and again.is_for_everybody
                and again.as_of_date = {{ as_of_date() }}
        where
            earlier.relation_name = '{{ this.identifier }}'
            and earlier.is_for_everybody
            and earlier.as_of_date < {{ as_of_date() }}
        order by earlier.as_of_date desc
        limit 1
    {%- endset -%}
    {%- set rows = run_query(question).rows -%}
    {%- if rows | length == 0 -%}
        {{ return(none) }}
    {%- endif -%}
    {{ return({
        "as_of_date": "cast('" ~ rows[0][0] ~ "' as date)",
        "open_from_date": "cast('" ~ rows[0][1] ~ "' as date)",
        "change_number": rows[0][2],
        "landing_id": rows[0][3],
    }) }}
{%- endmacro %}


{#- Whether the table being built already holds everybody for a date after as_of_date: then this run is a backfill. -#}
{% macro has_later_run() -%}
    {%- if not is_incremental() or not execute -%}
        {{ return(false) }}
    {%- endif -%}
    {%- set question -%}
        select count(*)
        from {{ ref("int_built_dates") }}
        where
            relation_name = '{{ this.identifier }}'
            and is_for_everybody
            and as_of_date > {{ as_of_date() }}
    {%- endset -%}
    {{ return(run_query(question).columns[0].values()[0] > 0) }}
{%- endmacro %}


{#-
    Keeps the users a query (the body of the call) names in a list of this session, `<model>__changed_users`, and counts
    them: Postgres guesses them ten times too many, and would read all users of every table for the few that changed.
-#}
{% macro keep_changed_users() -%}
    {%- if execute -%}
        {%- set name = this.identifier ~ "__changed_users" -%}
        {%- do run_query("drop table if exists " ~ name) -%}
        {%- do run_query("create temporary table " ~ name ~ " as " ~ caller()) -%}
        {%- do run_query("analyze " ~ name) -%}
    {%- endif -%}
{%- endmacro %}


{#-
    The pairs of user and date a run computes. At as_of_date: everybody, or, where there is a run before, only whom
    `keep_changed_users` kept. Beside them the dates training examples refer to, where there is a run before only those
    that late rows may still change: read from the first of their tables, so as not to wait for what came of returns.
-#}
{% macro due_user_dates(run_before=none) -%}
    select
        users.user_id,

        {{ as_of_date() }} as as_of_date

    {%- if run_before %}
    from {{ this.identifier }}__changed_users as users
    -- To look for the few who are still to come is cheaper than to look up everybody else.
    where
        not exists (
            select 1
            from {{ ref("dim_users") }} as users_to_come
            where
                users_to_come.user_id = users.user_id
                and users_to_come.registered_at >= {{ as_of_at() }}
        )
    {%- else %}
    from {{ ref("dim_users") }} as users
    where users.registered_at < {{ as_of_at() }}
    {%- endif %}
    union all
    select distinct
        examples.user_id,

        examples.as_of_date

    from {{ ref("label_example_return_14d") }} as examples
    where
        examples.as_of_date < {{ as_of_date() }}
        {%- if run_before %}
        and examples.as_of_date >= {{ date_after(run_before["as_of_date"], "-" ~ example_redo_days()) }}
        {%- endif %}
{%- endmacro %}


{#-
    Days of users that are new or other than at the run before, as a condition on rows of fct_user_days. What was to come
    at the run before may have been counted already: in a backfill all days have landed.
-#}
{% macro is_changed_day(run_before) -%}
    {{ is_open("activity_date", run_before) }}
    and (change_number > {{ run_before["change_number"] }} or activity_date >= {{ run_before["as_of_date"] }})
{%- endmacro %}


{#- Rows that landed after what the run before knew of, as a condition; those without a number are always new. -#}
{% macro has_landed_after(run_before, landing_column="landing_id") -%}
    ({{ landing_column }} is null or {{ landing_column }} > {{ run_before["landing_id"] }})
{%- endmacro %}


{#- Dates that late rows may have reached since the run before, as a condition on a date column. -#}
{% macro is_open(date_column, run_before) -%}
    {{ date_column }} >= {{ run_before["open_from_date"] }} and {{ date_column }} < {{ as_of_date() }}
{%- endmacro %}


{#- Days that were within a window of so many days at the run before and are not at as_of_date, as a condition. -#}
{% macro is_leaving(days, run_before) -%}
    activity_date >= {{ date_after(run_before["as_of_date"], -days) }}
    and activity_date < {{ date_after(as_of_date(), -days) }}
{%- endmacro %}


{#-
    Users of whom another list of lapses is known than at the run before: a lapse began; a day after which there would be
    one was followed by another after all, be it a return or a row that came late; a first day was known; a user was.
-#}
{% macro users_whose_lapses_changed(run_before) -%}
    select user_id
    from {{ ref("fct_user_lapses") }}
    where
        inactive_from_date <= {{ as_of_date() }}
        and (
            inactive_from_date > {{ run_before["as_of_date"] }}
            or (inactive_from_date > {{ run_before["open_from_date"] }} and not has_been_active)
        )
    union distinct
    select user_id
    from {{ ref("fct_user_days") }}
    where
        {{ is_changed_day(run_before) }}
        and coalesce(
            {{ date_after("activity_date", setting("inactive_after_days") | int ~ " - days_since_previous_activity") }}
            < {{ as_of_date() }},
            true
        )
{%- endmacro %}


{#- From and until when what was computed as of a date holds; the next run ends what holds at the newest date. -#}
{% macro validity(day) -%}
    {{ day }} as valid_from_date,
    {%- if has_later_run() %}
        {{ date_after(day, 1) }} as valid_until_date
    {%- else %}
        case
            when {{ day }} = {{ as_of_date() }} then {{ end_of_time() }}
            else {{ date_after(day, 1) }}
        end as valid_until_date
    {%- endif %}
{%- endmacro %}


{#- Whether a version holds for a date. -#}
{% macro holds_at(versions, day) -%}
    {{ versions }}.valid_from_date <= {{ day }} and {{ day }} < {{ versions }}.valid_until_date
{%- endmacro %}


{#- Of a date that was built for training examples only, rows of those examples are due. -#}
{% macro is_due(dates, users) -%}
    (
        {{ dates }}.is_for_everybody
        or exists (
            select 1
            from {{ ref("training_examples") }} as examples
            where
                examples.user_id = {{ users }}.user_id
                and examples.as_of_date = {{ dates }}.as_of_date
        )
    )
{%- endmacro %}


{#- Rows of a table of versions at every date it may be read for; of dates of examples also those that are not due. -#}
{% macro versions_as_of_dates(versions) -%}
    select
        versions.*,

        dates.as_of_date

    from {{ ref("int_built_dates") }} as dates
    inner join {{ ref(versions) }} as versions
        on {{ holds_at("versions", "dates.as_of_date") }}
    where dates.relation_name = '{{ versions }}'
{%- endmacro %}


{#-
    Every user and date a table of versions may be read for, also users without a version. Users of examples stand
    apart from everybody, so that a date of a run is read without asking of each.
-#}
{% macro users_as_built(versions) %}
    select
        users.user_id,

        dates.as_of_date

    from {{ ref("int_built_dates") }} as dates
    inner join {{ ref("dim_users") }} as users
        on users.registered_date < dates.as_of_date
    where
        dates.relation_name = '{{ versions }}'
        and dates.is_for_everybody
    union all
    select distinct
        users.user_id,

        dates.as_of_date

    from {{ ref("int_built_dates") }} as dates
    inner join {{ ref("training_examples") }} as examples
        on dates.as_of_date = examples.as_of_date
    inner join {{ ref("dim_users") }} as users
        on
            examples.user_id = users.user_id
            and users.registered_date < dates.as_of_date
    where
        dates.relation_name = '{{ versions }}'
        and not dates.is_for_everybody
{%- endmacro %}


{#- Writes down, in the transaction that wrote the versions, which dates the table may now be read for. -#}
{% macro remember_built_dates() -%}
    {{ remember_run() }}

    insert into {{ ref("int_built_dates") }} (relation_name, is_for_everybody, as_of_date)
    select distinct
        '{{ this.identifier }}',
        false,
        as_of_date
    from {{ ref("label_example_return_14d") }}
    where as_of_date < {{ as_of_date() }}
    on conflict (relation_name, as_of_date) do nothing;
{%- endmacro %}


{#-
    Incremental strategy `replace_versions`: what was computed for a date replaces what held at that date, and only there.
    A version that held before, at and after the date is cut: before the date it goes on as it was, and after it too, if
    the new row does not hold there (`valid_until_date` of what was computed says so). What is as it was is not touched.
-#}
{% macro get_incremental_replace_versions_sql(arg_dict) -%}
    {%- set target = arg_dict["target_relation"] -%}
    {%- set source = arg_dict["temp_relation"] -%}
    {%- set names = arg_dict["dest_columns"] | map(attribute="name") | list -%}
    {%- set key = arg_dict["unique_key"] | reject("equalto", "valid_from_date") | list -%}
    {%- set values = names | reject("in", key + ["valid_from_date", "valid_until_date"]) | list -%}
    {%- set differences = this.identifier ~ "__differences" %}

    create temporary table {{ differences }} on commit drop as
    select
        computed.*,
        known.valid_from_date as known_from_date,
        known.valid_until_date as known_until_date,
        known.place as known_place,
        lead(computed.valid_from_date) over (
            partition by {% for name in key %}computed.{{ name }}, {% endfor %}known.valid_from_date
            order by computed.valid_from_date
        ) as next_date
    from {{ source }} as computed
    -- Looked up one by one, the newest first, however many versions held before.
    left join
        lateral (
            select
                versions.*,

                versions.ctid as place

            from {{ target }} as versions
            where
                {%- for name in key %}
                versions.{{ name }} = computed.{{ name }} and
                {%- endfor %}
                {{ holds_at("versions", "computed.valid_from_date") }}
            order by versions.valid_from_date desc
            limit 1
        ) as known
        on true
    where
        known.user_id is null
        or ({% for name in values %}known.{{ name }}{{ ", " if not loop.last }}{% endfor %})
        is distinct from ({% for name in values %}computed.{{ name }}{{ ", " if not loop.last }}{% endfor %});

    -- What goes on after the date as before it.
    insert into {{ target }} ({{ names | join(", ") }})
    select
        {%- for name in key + values %}
        known.{{ name }},
        {%- endfor %}
        differences.valid_until_date,
        least(differences.known_until_date, differences.next_date)
    from {{ differences }} as differences
    inner join {{ target }} as known
        on
            {%- for name in key %}
            differences.{{ name }} = known.{{ name }} and
            {%- endfor %}
            differences.known_from_date = known.valid_from_date
    where differences.valid_until_date < least(differences.known_until_date, differences.next_date);

    delete from {{ target }} as known
    using {{ differences }} as differences
    where
        {%- for name in key %}
        known.{{ name }} = differences.{{ name }} and
        {%- endfor %}
        known.valid_from_date = differences.valid_from_date
        and differences.known_from_date = differences.valid_from_date;

    -- By their place in the table, which nothing has moved since: to look up each by its key takes longer than to end it.
    update {{ target }} as known
    set valid_until_date = ended.valid_until_date
    from (
        select
            known_place,
            min(valid_from_date) as valid_until_date
        from {{ differences }}
        group by known_place
    ) as ended
    where known.ctid = ended.known_place;

    insert into {{ target }} ({{ names | join(", ") }})
    select {{ names | join(", ") }} from {{ differences }};
{%- endmacro %}


{#-
    Stands in the small tables of versions: dbt begins what has fewer others before it first, then goes by the name. One
    view more, made at once, lets the sums of users and friends begin before them, which take as long as all others.
-#}
{% macro begins_after_the_largest() -%}
    -- depends_on: {{ ref("label_example_response_14d") }}
{%- endmacro %}
