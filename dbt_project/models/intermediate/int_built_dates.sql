{{
    config(
        materialized="incremental",
        incremental_strategy="append",
        on_schema_change="append_new_columns",
        indexes=[{"columns": ["relation_name", "as_of_date"], "unique": true}],
    )
}}

-- Empty when it is made: the tables it tells of write into it in the transaction that writes their rows.
with

int_built_dates as (

    select
        cast(null as text) as relation_name,

        cast(null as bigint) as change_number,
        cast(null as bigint) as landing_id,

        cast(null as boolean) as is_for_everybody,

        cast(null as date) as as_of_date,
        cast(null as date) as open_from_date

    where false

)

select * from int_built_dates
