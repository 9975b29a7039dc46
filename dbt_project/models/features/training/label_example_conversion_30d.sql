{{ config(materialized="view") }}

with

label_example_conversion_30d as (

    {{ conversions_after_returns() | indent(4) }}

)

select * from label_example_conversion_30d
