{{ config(alias="model_performance") }}

with

model_versions as (

    select * from {{ source("predictions", "model_versions") }}

),

drift as (

    select * from {{ source("predictions", "drift") }}

),

drift_by_date as (

    select
        model_version,

        sum(case when subject = 'feature' and status = 'alert' then 1 else 0 end) as drifted_features_count,
        max(case when subject = 'prediction' then psi end) as prediction_psi,
        max(case when subject = 'calibration' and status <> 'unknown' then calibration_error end) as calibration_error,
        row_number() over (partition by model_version order by as_of_date desc) as date_number,

        as_of_date

    from drift
    group by model_version, as_of_date

),

newest_drift as (

    select * from drift_by_date
    where date_number = 1

),

rpt_model_performance as (

    select
        model_versions.model_name,
        model_versions.version,

        model_versions.status,
        model_versions.sha256,
        model_versions.metrics,

        newest_drift.drifted_features_count,
        newest_drift.prediction_psi,
        newest_drift.calibration_error,

        model_versions.as_of_date,
        newest_drift.as_of_date as drift_date,

        model_versions.trained_at

    from model_versions
    left join newest_drift
        on model_versions.version = newest_drift.model_version

)

select * from rpt_model_performance
