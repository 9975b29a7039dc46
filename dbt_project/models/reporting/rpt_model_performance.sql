{{ config(alias="model_performance") }}

with

model_versions as (

    select * from {{ source("predictions", "model_versions") }}

),

rpt_model_performance as (

    select
        model_name,
        version,

        status,
        sha256,
        metrics,

        as_of_date,

        trained_at

    from model_versions

)

select * from rpt_model_performance
