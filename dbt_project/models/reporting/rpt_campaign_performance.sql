{{ config(alias="campaign_performance") }}

with

campaigns as (

    select * from {{ source("experiments", "campaigns") }}

),

campaign_arms as (

    select * from {{ source("experiments", "campaign_arms") }}

),

newest_dates as (

    select
        campaign_id,
        planned_by,

        max(as_of_date) as as_of_date

    from campaigns
    group by campaign_id, planned_by

),

rpt_campaign_performance as (

    select
        campaigns.campaign_id,

        campaigns.planned_by,
        campaign_arms.arm,
        campaigns.event_type,
        campaigns.action,
        campaigns.decision,

        campaign_arms.users,
        campaign_arms.contacted,
        campaign_arms.returned,
        campaign_arms.converted,
        campaign_arms.money_users,
        campaign_arms.revenue,
        campaign_arms.cost,
        campaign_arms.lift,
        campaign_arms.low,
        campaign_arms.high,
        campaign_arms.p_value,
        campaign_arms.revenue_lift,
        campaign_arms.roi,
        campaign_arms.roi_low,
        campaign_arms.roi_high,

        campaigns.as_of_date

    from campaigns
    inner join newest_dates
        on
            campaigns.campaign_id = newest_dates.campaign_id
            and campaigns.planned_by = newest_dates.planned_by
            and campaigns.as_of_date = newest_dates.as_of_date
    inner join campaign_arms
        on
            campaigns.campaign_id = campaign_arms.campaign_id
            and campaigns.planned_by = campaign_arms.planned_by
            and campaigns.as_of_date = campaign_arms.as_of_date

)

select * from rpt_campaign_performance
