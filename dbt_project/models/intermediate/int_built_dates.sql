{{
    config(
        materialized="incremental",
        incremental_strategy="append",
        on_schema_change="append_new_columns",
        indexes=[{"columns": ["relation_name", "as_of_date"], "unique": true}],
    )
}}

-- Empty when it is made, but for the history that has all others built anew: the tables it tells of write into it in
-- the transaction that writes their rows.
{%- set history = history_landing() if execute and not is_incremental() %}

with

int_built_dates as (

    select
        cast('history' as text) as relation_name,

        cast(null as bigint) as change_number,
        cast({{ history if history is number else "null" }} as bigint) as landing_id,

        cast(null as boolean) as is_for_everybody,

        {{ as_of_date() }} as as_of_date,
        cast(null as date) as open_from_date

    where {{ "true" if history is number else "false" }}

)

select * from int_built_dates
