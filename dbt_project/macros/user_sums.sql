{#-
    What user_sums_versions_1_of_2 and user_sums_versions_2_of_2 are made of. Postgres runs a `lateral` that counts on one
    core only: each half of the users is a model of its own, and dbt makes both at a time.
-#}

{#- Which half of the users a user is of, as a condition: by the sign of a hash, and so for good. -#}
{% macro is_of_half(half, user_id="user_id") -%}
    {{ adapter.dispatch("is_of_half", "rekindle")(half, user_id) }}
{%- endmacro %}

{% macro default__is_of_half(half, user_id) -%}
    hash({{ user_id }}) % 2 = {{ half - 1 }}
{%- endmacro %}

{% macro postgres__is_of_half(half, user_id) -%}
    hashtext({{ user_id }}) {{ "<" if half == 1 else ">=" }} 0
{%- endmacro %}


{#- The versions a run computes for a half of the users; where that is enough, whom days leave was carried over before. -#}
{% macro user_sums_of_half(half) -%}
{%- set run_before = run_before_this() %}
{%- if run_before %}
{#- Who did something that is new or came late, and who was not known at the run before. -#}
{%- call keep_changed_users() %}
select user_id
from {{ ref("fct_user_days") }}
where
    {{ is_changed_day(run_before) }}
    and {{ is_of_half(half) }}
union distinct
select users.user_id
from {{ ref("dim_users") }} as users
where
    ({{ has_landed_after(run_before, "users.landing_id") }} or users.registered_date >= {{ run_before["as_of_date"] }})
    and {{ is_of_half(half, "users.user_id") }}
    and not exists (
        select 1
        from {{ this }} as known
        where
            known.user_id = users.user_id
            and known.valid_from_date <= {{ run_before["as_of_date"] }}
    )
{%- endcall %}
{%- endif %}
{#- Whom days left is carried over before this runs, unless the date was built already or comes before one that was. -#}
{%- set takes_off_leaving_days = run_before and not is_newest_run() %}

with

{%- if takes_off_leaving_days %}

leaving_days as (

    {{ sums_of_leaving_days(run_before, half) }}

),

-- Who did nothing keeps everything but what has left the windows.
left_versions as (

    select
        {{ version_less_leaving_days("known", "leaving_days") }}
    from leaving_days
    cross join
        {{ version_at_run_before("leaving_days", run_before) }} as known
    where {{ is_all_that_changed("leaving_days") }}

),
{%- endif %}

due as (

    select * from (
        {{ due_user_dates(run_before) }}
    ) as all_due
    where {{ is_of_half(half) }}

),

-- One name for each use: what two parts of a query share is computed as a whole, and no index helps to look into it.
user_days as (

    select * from {{ ref("fct_user_day_measures") }}

),

quiet_days as (

    select * from {{ ref("fct_user_days") }}

),

session_days as (

    select * from {{ ref("fct_user_days") }}

),

first_paying_days as (

    select * from {{ ref("fct_user_days") }}

),

last_paying_days as (

    select * from {{ ref("fct_user_days") }}

),

user_years as (

    select * from {{ ref("fct_user_years") }}

),

user_devices as (

    select * from {{ ref("fct_user_devices") }}

),

-- From here on days count one by one; what was before is in the earlier.
settled_years as (

    select coalesce({{ start_of_next_year("max(year_date)") }}, cast('0001-01-01' as date)) as settled_until_date
    from {{ ref("fct_user_years") }}

),

due_and_years as (

    select
        due.user_id,

        due.as_of_date,
        least(
            settled_years.settled_until_date,
            cast({{ dbt.date_trunc("year", "due.as_of_date") }} as date)
        ) as settled_until_date

    from due
    cross join settled_years
    -- Says nothing about rows: the date is computed once for each pair, not at every use, and look-ups of a user follow
    -- one another, so that they find their pages in memory.
    order by due.user_id, due.as_of_date
    offset 0 -- noqa: AM09

),

-- A look-up for each user and date: the days of a year or less and one row a year before, however long the history is.
computed as (

    select
        due.user_id,
        last_session_day.device_type as last_device_type,
        last_session_day.operating_system as last_operating_system,

        {%- for name, days in sums_of_windows() %}
        open_days.{{ name }}_{{ days }}d,
        {%- endfor %}
        {%- for name in day_measures() %}
        open_days.{{ name }} + earlier.{{ name }} as {{ name }}_life,
        {%- endfor %}
        {%- for name in largest_measures()[:2] %}
        greatest(open_days.{{ name }}, earlier.{{ name }}) as {{ name }},
        {%- endfor %}
        devices.devices_count,
        devices.device_types_count,
        {%- for name in level_measures() %}
        cast(levels.last_{{ name }} as double precision) as last_{{ name }},
        cast(levels.earlier_{{ name }} as double precision) as earlier_{{ name }},
        {%- endfor %}
        first_paying_day.payments_amount as first_paying_day_amount,
        last_paying_day.payments_amount as last_paying_day_amount,

        {{ validity("due.as_of_date") }},
        {%- for name in earliest_measures() %}
        least(open_days.{{ name }}, earlier.{{ name }}) as {{ name }},
        {%- endfor %}
        {%- for name in largest_measures()[2:-1] %}
        greatest(open_days.{{ name }}, earlier.{{ name }}) as {{ name }},
        {%- endfor %}

        greatest(open_days.last_activity_at, earlier.last_activity_at) as last_activity_at

    from due_and_years as due
    cross join
        lateral ( -- noqa: ST05
            select
                {%- for name, days in sums_of_windows() %}
                cast(
                    {{ sum_within(name, days) }} as {{ sum_type(name) }}
                ) as {{ name }}_{{ days }}d,
                {%- endfor %}
                {%- for name in day_measures() %}
                cast(
                    coalesce(sum({{ name }}) filter (where is_of_an_open_year), 0) as {{ sum_type(name) }}
                ) as {{ name }},
                {%- endfor %}
                {%- for name in earliest_measures() %}
                min({{ name }}) filter (where is_of_an_open_year) as {{ name }},
                {%- endfor %}
                {%- for name in largest_measures()[:-1] %}
                max({{ name }}) filter (where is_of_an_open_year) as {{ name }},
                {%- endfor %}
                max(last_activity_at) filter (where is_of_an_open_year) as last_activity_at
            from (
                select
                    user_days.*,

                    {{ dbt.datediff("user_days.activity_date", "due.as_of_date", "day") }} as days_ago,

                    user_days.activity_date >= due.settled_until_date as is_of_an_open_year

                from user_days
                where
                    user_days.user_id = due.user_id
                    and user_days.activity_date < due.as_of_date
                    and user_days.activity_date
                    >= least(due.settled_until_date, {{ date_after("due.as_of_date", -365) }})
                -- Says nothing about rows, and makes Postgres compute a day's columns once, not once for every sum.
                offset 0 -- noqa: AM09
            ) as days_before
        ) as open_days
    cross join
        lateral (
            select
                {%- for name in day_measures() %}
                cast(coalesce(sum({{ name }}), 0) as {{ sum_type(name) }}) as {{ name }},
                {%- endfor %}
                {%- for name in earliest_measures() %}
                min({{ name }}) as {{ name }},
                {%- endfor %}
                {%- for name in largest_measures()[:-1] %}
                max({{ name }}) as {{ name }},
                {%- endfor %}
                max(last_activity_at) as last_activity_at
            from user_years
            where
                user_years.user_id = due.user_id
                and user_years.year_date < due.settled_until_date
        ) as earlier
    cross join
        lateral ( -- noqa: ST05
            select
                {%- for name in level_measures() %}
                sum(case when is_recent then {{ name }} else 0 end) as last_{{ name }},
                sum(case when is_recent then 0 else {{ name }} end) as earlier_{{ name }},
                {%- endfor %}
                count(*) as days_count
            from (
                select
                    quiet_days.*,

                    1 as active_days_count,

                    quiet_days.activity_date
                    > {{ date_after("greatest(open_days.last_activity_date, earlier.last_activity_date)", -28) }}
                        as is_recent

                from quiet_days
                where
                    quiet_days.user_id = due.user_id
                    and quiet_days.activity_date <= greatest(open_days.last_activity_date, earlier.last_activity_date)
                    and quiet_days.activity_date
                    > {{ date_after("greatest(open_days.last_activity_date, earlier.last_activity_date)", -56) }}
            ) as days_before_going_quiet
        ) as levels
    cross join
        lateral (
            select
                count(*) filter (where user_devices.device_kind = 'device') as devices_count,
                count(*) filter (where user_devices.device_kind = 'device_type') as device_types_count
            from user_devices
            where
                user_devices.user_id = due.user_id
                and user_devices.first_used_date < due.as_of_date
        ) as devices
    -- At most one day each.
    cross join
        lateral (
            select
                min(session_days.device_type) as device_type,
                min(session_days.operating_system) as operating_system
            from session_days
            where
                session_days.user_id = due.user_id
                and session_days.activity_date = greatest(open_days.last_session_date, earlier.last_session_date)
        ) as last_session_day
    cross join
        lateral (
            select cast(min(first_paying_days.payments_amount) as numeric(38, 6)) as payments_amount
            from first_paying_days
            where
                first_paying_days.user_id = due.user_id
                and first_paying_days.activity_date = least(open_days.first_payment_date, earlier.first_payment_date)
        ) as first_paying_day
    cross join
        lateral (
            select cast(min(last_paying_days.payments_amount) as numeric(38, 6)) as payments_amount
            from last_paying_days
            where
                last_paying_days.user_id = due.user_id
                and last_paying_days.activity_date = greatest(open_days.last_payment_date, earlier.last_payment_date)
        ) as last_paying_day

)

select * from computed
{%- if takes_off_leaving_days %}
union all
select * from left_versions
{%- endif %}
{%- endmacro %}
