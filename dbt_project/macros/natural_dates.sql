{#-
    Every 28th day, counted from 1970-01-01, from the first day on which anybody had lapsed to the
    day before as_of_date; in an incremental run from `redo_from` on.
-#}
{% macro natural_reference_dates(redo_from) -%}
    {{ adapter.dispatch("natural_reference_dates", "rekindle")(redo_from) }}
{%- endmacro %}

{% macro default__natural_reference_dates(redo_from) -%}
    {{ exceptions.raise_compiler_error("natural_reference_dates is not written for this kind of warehouse yet.") }}
{%- endmacro %}

{% macro postgres__natural_reference_dates(redo_from) -%}
    select cast(cast('1970-01-01' as date) + 28 * cast(step.number as integer) as date) as as_of_date
    from generate_series(
        (
            select
                cast(ceil(
                    (
                        {%- if redo_from %}
                        greatest(min(inactive_from_date), {{ redo_from }})
                        {%- else %}
                        min(inactive_from_date)
                        {%- endif %}
                        - cast('1970-01-01' as date)
                    ) / 28.0
                ) as bigint)
            from {{ ref("fct_user_lapses") }}
            where has_been_active
        ),
        cast(ceil(({{ as_of_date() }} - cast('1970-01-01' as date)) / 28.0) as bigint) - 1
    ) as step (number)
{%- endmacro %}
