{#-
    Whoever did nothing since the run before keeps their sums but for days that have left a window meanwhile: these are
    taken off. Sums are exact in their types, so that nothing is lost however often this is done.
-#}

{#- Sums over windows, which change while a user does nothing: measure, days, and whether only days with payments count. -#}
{% macro sums_of_windows() -%}
    {%- set sums = [] -%}
    {%- for name in window_measures() -%}
        {%- for days in var("feature_windows") -%}
            {%- do sums.append((name, days)) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- do sums.append(("payments_amount", 180)) -%}
    {%- for kind in var("interaction_kinds") -%}
        {%- do sums.append((kind ~ "_interactions_count", 90)) -%}
    {%- endfor -%}
    {{ return(sums) }}
{%- endmacro %}


{#- Of whom in a half days were within a window at the run before and are not now, and what these had added to the sums. -#}
{% macro sums_of_leaving_days(run_before, half) -%}
    select
        user_id,

        {%- for name, days in sums_of_windows() %}
        sum({{ name }}) filter (where {{ is_leaving(days, run_before) }}) as {{ name }}_{{ days }}d
        {{- "," if not loop.last }}
        {%- endfor %}

    from {{ ref("fct_user_day_measures") }}
    where
        {{ is_of_half(half) }}
        and (
            -- Over 180 days nothing but money is counted.
            (payments_count > 0 and {{ is_leaving(180, run_before) }})
            {%- for days in var("feature_windows") %}
            or ({{ is_leaving(days, run_before) }})
            {%- endfor %}
        )
    group by user_id
{%- endmacro %}


{#-
    A user's version that held at the run before, looked up one by one, the newest first: to find them all at once every
    version that ever held would be read.
-#}
{% macro version_at_run_before(users, run_before) -%}
    lateral (
        select
            versions.*,

            versions.ctid as place

        from {{ this }} as versions
        where
            versions.user_id = {{ users }}.user_id
            and {{ holds_at("versions", run_before["as_of_date"]) }}
        order by versions.valid_from_date desc
        limit 1
    )
{%- endmacro %}


{#- What a version says once days have left its windows, in the order of the columns of user_sums_of_half. -#}
{% macro version_less_leaving_days(known, leaving_days) -%}
    {{ known }}.user_id,
    {{ known }}.last_device_type,
    {{ known }}.last_operating_system,

    {%- for name, days in sums_of_windows() %}
    cast(
        {{ known }}.{{ name }}_{{ days }}d - coalesce({{ leaving_days }}.{{ name }}_{{ days }}d, 0) as {{ sum_type(name) }}
    ) as {{ name }}_{{ days }}d,
    {%- endfor %}
    {%- for name in day_measures() %}
    {{ known }}.{{ name }}_life,
    {%- endfor %}
    {%- for name in largest_measures()[:2] %}
    {{ known }}.{{ name }},
    {%- endfor %}
    {{ known }}.devices_count,
    {{ known }}.device_types_count,
    {%- for name in level_measures() %}
    {{ known }}.last_{{ name }},
    {{ known }}.earlier_{{ name }},
    {%- endfor %}
    {{ known }}.first_paying_day_amount,
    {{ known }}.last_paying_day_amount,

    {{ validity(as_of_date()) }},
    {%- for name in earliest_measures() + largest_measures()[2:] %}
    {{ known }}.{{ name }}{{ "," if not loop.last }}
    {%- endfor %}
{%- endmacro %}


{#- Leaving days of users of whom nothing else changed. -#}
{% macro is_all_that_changed(leaving_days) -%}
    not exists (
        select 1
        from {{ this.identifier }}__changed_users as changed_users
        where {{ leaving_days }}.user_id = changed_users.user_id
    )
{%- endmacro %}


{#-
    Whether as_of_date comes after every date that was built: then what holds at the run before holds still, and may be
    ended and followed by another version without a look at what comes after. A run writes its date down when it
    begins, its change_number when it ends.
-#}
{% macro is_newest_run() -%}
    {%- set question -%}
        select count(*)
        from {{ ref("int_built_dates") }}
        where
            relation_name = '{{ this.identifier }}'
            and is_for_everybody
            and change_number is not null
            and as_of_date >= {{ as_of_date() }}
    {%- endset -%}
    {{ return(run_query(question).columns[0].values()[0] == 0) }}
{%- endmacro %}


{#-
    Before the newest run computes those of a half who did something: all others whose days leave a window get their next
    version. They are five of six, and each is looked up once and written twice, without being put aside and compared.
-#}
{% macro carry_over_whom_days_leave(half) -%}
    {%- set run_before = run_before_this() -%}
    {%- if run_before and is_newest_run() -%}
    {%- set names = adapter.get_columns_in_relation(this) | map(attribute="name") | join(", ") -%}
    {%- set leaving_days = this.identifier ~ "__leaving_days" %}

    {{ settings_of_look_ups() }}
    create temporary table {{ leaving_days }} on commit drop as
    select
        leaving_days.*,

        known.place

    from ({{ sums_of_leaving_days(run_before, half) }}) as leaving_days
    cross join
        {{ version_at_run_before("leaving_days", run_before) }} as known
    where {{ is_all_that_changed("leaving_days") }}
    -- One after the other, so that they find their pages in memory.
    order by leaving_days.user_id;

    insert into {{ this }} ({{ names }})
    select {{ names }}
    from (
        select
            {{ version_less_leaving_days("known", "leaving_days") }}
        from {{ leaving_days }} as leaving_days
        inner join {{ this }} as known on leaving_days.place = known.ctid
    ) as next_versions;

    update {{ this }} as known
    set valid_until_date = {{ as_of_date() }}
    from {{ leaving_days }} as leaving_days
    where known.ctid = leaving_days.place;
    {%- endif -%}
{%- endmacro %}
