{#- Every row satisfies the condition; a condition that is null counts as broken, so say coalesce where null is fine. -#}
{% test holds(model, condition, date_column=none, moment_column=none, run_date_column=none) %}
with

rows_to_check as (

    select * from {{ model }}
    {{ recent_rows(date_column, moment_column, run_date_column) }}

)

select *
from rows_to_check
where not coalesce({{ condition }}, false)
{% endtest %}
