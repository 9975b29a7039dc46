{#-
    Trailing windows and running totals over the days of a user. A window of n days is [as_of_date - n, as_of_date):
    nothing of as_of_date itself is known yet. Windows expect a column `days_ago`: whole days from the row's date to
    as_of_date, at least 1. `filter` is standard SQL, and skips what is outside before anything is computed.
-#}

{#- The sum of a column within one window; a window without rows is a known zero. -#}
{% macro sum_within(column, days) -%}
    coalesce(sum({{ column }}) filter (where days_ago <= {{ days }}), 0)
{%- endmacro %}


{#- The names of one total in all windows and for life: `<name>_7d`, ..., `<name>_life`. -#}
{% macro window_names(name) -%}
    {%- set names = [] -%}
    {%- for days in var("feature_windows") -%}
        {%- do names.append(name ~ "_" ~ days ~ "d") -%}
    {%- endfor -%}
    {{ return(names + [name ~ "_life"]) }}
{%- endmacro %}


{#- What is told of a user in every window. -#}
{% macro window_measures() -%}
    {{ return([
        "active_days_count", "sessions_count", "sessions_duration_seconds", "interactions_count",
        "payments_count", "paying_days_count", "payments_amount",
    ]) }}
{%- endmacro %}


{#- What adds up over the days of a user: the columns of fct_user_day_measures and of fct_user_years. -#}
{% macro day_measures() -%}
    {%- set names = window_measures() + [
        "page_views_count", "session_days_count", "device_switch_days_count",
        "gaps_count", "gaps_days", "gaps_square_days",
    ] -%}
    {%- for part in ["night", "morning", "afternoon", "evening"] -%}
        {%- do names.append(part ~ "_sessions_count") -%}
    {%- endfor -%}
    {%- for day in weekday_names() -%}
        {%- do names.append(day ~ "_days_count") -%}
    {%- endfor -%}
    {%- for kind in var("interaction_kinds") -%}
        {%- do names.append(kind ~ "_interactions_count") -%}
    {%- endfor -%}
    {{ return(names) }}
{%- endmacro %}


{#- Of what the smallest and of what the largest value is kept over the days of a user. -#}
{% macro earliest_measures() -%}
    {{ return(["first_activity_date", "first_payment_date"]) }}
{%- endmacro %}

{% macro largest_measures() -%}
    {{ return([
        "gaps_longest_days", "largest_payment_amount",
        "last_activity_date", "last_session_date", "last_interaction_date", "last_payment_date", "last_activity_at",
    ]) }}
{%- endmacro %}


{% macro weekday_names() -%}
    {{ return(["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]) }}
{%- endmacro %}


{#- The type a measure is kept in; doubles hold whole numbers exactly, and add up faster than bigints. -#}
{% macro measure_type(name) -%}
    {%- if name in ("payments_amount", "largest_payment_amount") -%}
        numeric(38, 6)
    {%- elif name in ("sessions_duration_seconds", "page_views_count", "gaps_square_days") -%}
        double precision
    {%- elif name.endswith("_date") -%}
        date
    {%- elif name.endswith("_at") -%}
        timestamp with time zone
    {%- else -%}
        integer
    {%- endif -%}
{%- endmacro %}


{#- The type of a sum over days or years. -#}
{% macro sum_type(name) -%}
    {%- if measure_type(name) == "integer" -%} bigint {%- elif name == "payments_amount" -%} numeric(38, 6)
    {%- elif name in ("sessions_duration_seconds", "page_views_count") -%} bigint
    {%- else -%} {{ measure_type(name) }} {%- endif -%}
{%- endmacro %}


{#- What is told of the weeks just before a user went quiet. -#}
{% macro level_measures() -%}
    {{ return(
        ["active_days_count", "sessions_count", "sessions_duration_seconds", "interactions_count", "payments_amount"]
    ) }}
{%- endmacro %}
