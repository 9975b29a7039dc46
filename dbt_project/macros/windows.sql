{#-
    Trailing windows. They expect a column `days_ago`: whole days from the row's date to as_of_date, at least 1, because
    nothing of as_of_date itself is known yet. A window of n days is [as_of_date - n, as_of_date).
-#}

{#- The sum of a column within one window; a window without rows is a known zero. -#}
{% macro sum_within(column, days) -%}
    sum(case when days_ago <= {{ days }} then {{ column }} else 0 end)
{%- endmacro %}


{#- One column a window, `<name>_<n>d`, and `<name>_life` over everything. -#}
{% macro sums_by_window(column, name, type="bigint") -%}
    {%- for days in var("feature_windows") %}
        cast({{ sum_within(column, days) }} as {{ type }}) as {{ name }}_{{ days }}d,
    {%- endfor %}
        cast(coalesce(sum({{ column }}), 0) as {{ type }}) as {{ name }}_life
{%- endmacro %}


{#- The columns of `sums_by_window` for each name; without any row before as_of_date they are a known zero. -#}
{% macro zero_where_missing(relation, names, type="bigint") -%}
    {%- for name in names -%}
        {%- for days in var("feature_windows") %}
        cast(coalesce({{ relation }}.{{ name }}_{{ days }}d, 0) as {{ type }}) as {{ name }}_{{ days }}d,
        {%- endfor %}
        cast(coalesce({{ relation }}.{{ name }}_life, 0) as {{ type }}) as {{ name }}_life
        {%- if not loop.last %},{% endif %}
    {%- endfor %}
{%- endmacro %}
