{#- What engines write differently about time stands here and nowhere else. -#}

{#- The UTC date of a moment, whatever the time zone of the session. -#}
{% macro utc_date(moment) -%}
    {{ adapter.dispatch("utc_date", "rekindle")(moment) }}
{%- endmacro %}

{% macro default__utc_date(moment) -%}
    cast({{ moment }} as date)
{%- endmacro %}

{#- By a distance of nothing: the name of a time zone would be looked up for every row. -#}
{% macro postgres__utc_date(moment) -%}
    cast({{ moment }} at time zone interval '0' as date)
{%- endmacro %}


{#- The time of the day in UTC. -#}
{% macro utc_time(moment) -%}
    {{ adapter.dispatch("utc_time", "rekindle")(moment) }}
{%- endmacro %}

{% macro default__utc_time(moment) -%}
    cast({{ moment }} as time)
{%- endmacro %}

{% macro postgres__utc_time(moment) -%}
    cast({{ moment }} at time zone interval '0' as time)
{%- endmacro %}


{#- The first moment of a UTC date. -#}
{% macro start_of_day(day) -%}
    {{ adapter.dispatch("start_of_day", "rekindle")(day) }}
{%- endmacro %}

{% macro default__start_of_day(day) -%}
    cast({{ day }} as timestamp)
{%- endmacro %}

{% macro postgres__start_of_day(day) -%}
    (cast({{ day }} as timestamp) at time zone 'UTC')
{%- endmacro %}


{#- So many times 24 hours later: a day of a time zone with daylight saving can be shorter. -#}
{% macro days_after(moment, days) -%}
    {{ dbt.dateadd("second", days ~ " * 86400", moment) }}
{%- endmacro %}


{#- The date so many days later. -#}
{% macro date_after(day, days) -%}
    {{ adapter.dispatch("date_after", "rekindle")(day, days) }}
{%- endmacro %}

{% macro default__date_after(day, days) -%}
    cast({{ dbt.dateadd("day", days, day) }} as date)
{%- endmacro %}

{#- A date and a whole number: going through an interval, as dbt does, takes ten times as long. -#}
{% macro postgres__date_after(day, days) -%}
    (cast({{ day }} as date) + cast({{ days }} as integer))
{%- endmacro %}


{#- 0 for Monday to 6 for Sunday; 1900-01-01 was a Monday. -#}
{% macro weekday(day) -%}
    mod(mod({{ dbt.datediff("cast('1900-01-01' as date)", day, "day") }}, 7) + 7, 7)
{%- endmacro %}


{#- The first day of the year after the one a date lies in. -#}
{% macro start_of_next_year(day) -%}
    cast({{ dbt.dateadd("year", 1, dbt.date_trunc("year", day)) }} as date)
{%- endmacro %}
