{#- The columns together name one row, and none of them is null: one query for both. -#}
{% test is_key(model, columns, date_column=none, moment_column=none, run_date_column=none) %}
select
    {{ columns | join(", ") }},

    count(*) as rows_count

from {{ model }}
{{ recent_rows(date_column, moment_column, run_date_column) }}
group by {{ columns | join(", ") }}
having
    count(*) > 1
    {%- for column in columns %}
    or {{ column }} is null
    {%- endfor %}
{% endtest %}
