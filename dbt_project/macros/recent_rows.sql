{#-
    A where clause that keeps what a run may have changed, for tests of tables that grow with history. Of two columns
    one is named: a date or a moment; without either all rows count.
-#}
{% macro recent_rows(date_column=none, moment_column=none) -%}
    {%- set first_date = date_after(as_of_date(), "-" ~ (setting("late_arrival_days") | int + 1)) -%}
    {%- if date_column -%}
        where {{ date_column }} >= {{ first_date }}
    {%- elif moment_column -%}
        where {{ moment_column }} >= {{ start_of_day(first_date) }}
    {%- endif -%}
{%- endmacro %}
