{#-
    A where clause that keeps what a run may have changed, for tests of tables that grow with history. Of three columns one
    is named: a date, a moment, or the as_of_date of a run, of which others are as they were; without any all rows count.
-#}
{% macro recent_rows(date_column=none, moment_column=none, run_date_column=none) -%}
    {%- set first_date = date_after(as_of_date(), "-" ~ (setting("late_arrival_days") | int + 1)) -%}
    {%- if date_column -%}
        where {{ date_column }} >= {{ first_date }}
    {%- elif moment_column -%}
        where {{ moment_column }} >= {{ start_of_day(first_date) }}
    {%- elif run_date_column -%}
        where {{ run_date_column }} = {{ as_of_date() }}
    {%- endif -%}
{%- endmacro %}
