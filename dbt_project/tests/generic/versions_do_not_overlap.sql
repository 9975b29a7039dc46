{#- Of two versions of the same key the earlier one ends before the later one begins, and each holds for a date at least. -#}
{% test versions_do_not_overlap(model, columns, date_column) %}
with

recent_versions as (

    select * from {{ model }}
    {{ recent_rows(date_column) }}

)

select later.*
from recent_versions as later
inner join {{ model }} as earlier
    on
        {%- for column in columns %}
        later.{{ column }} = earlier.{{ column }} and
        {%- endfor %}
        earlier.valid_from_date < later.valid_from_date
        and later.valid_from_date < earlier.valid_until_date
union all
select *
from recent_versions
where valid_until_date <= valid_from_date
{% endtest %}
