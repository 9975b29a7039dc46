{{ config(materialized="table") }}

{%- set money_days = [setting("conversion_window_days") | int, setting("value_horizon_days") | int] | max %}

with

assignments as (

    select * from {{ ref("exp_campaign_assignments") }}

),

invitations as (

    select * from {{ source("experiments", "invitations") }}

),

events as (

    select * from {{ ref("dim_events") }}

),

exposures as (

    select * from {{ ref("fct_exposures") }}

),

responses as (

    select * from {{ ref("fct_responses") }}

),

lapses as (

    select * from {{ ref("fct_user_lapses") }}

),

payments as (

    select * from {{ ref("fct_payments") }}

),

contacts_landed as (

    select
        event_id,
        user_id,

        max(exposed_at) as contacted_at

    from exposures
    where
        is_contact
        and exposed_at < {{ as_of_at() }}
    group by event_id, user_id

),

events_with_landed_contacts as (

    select distinct event_id from contacts_landed

),

users_shown_to_marketing as (

    select distinct
        user_id,
        event_id

    from invitations
    where as_of_date < {{ as_of_date() }}

),

first_responses as (

    select
        event_id,
        user_id,

        min(responded_at) as responded_at

    from responses
    where responded_at < {{ as_of_at() }}
    group by event_id, user_id

),

events_with_responses as (

    select distinct event_id from first_responses

),

-- Lapses of a user do not overlap: at most one is going on when the arm is drawn.
users_with_returns as (

    select
        assignments.campaign_id,
        assignments.user_id,

        assignments.planned_by,

        lapses.returned_at

    from assignments
    inner join lapses
        on
            assignments.user_id = lapses.user_id
            and lapses.inactive_from_date <= assignments.assigned_date
            and lapses.returned_at >= assignments.assigned_at
    where
        lapses.returned_at < {{ days_after("assignments.assigned_at", setting("return_window_days")) }}
        and lapses.returned_at < {{ as_of_at() }}

),

payments_after_returns as (

    select
        returned.campaign_id,
        returned.user_id,

        returned.planned_by,

        sum(
            case
                when payments.paid_at < {{ days_after("returned.returned_at", setting("value_horizon_days")) }}
                    then payments.net_amount
                else 0
            end
        ) as revenue_amount,

        max(
            case
                when
                    not payments.is_refund
                    and payments.paid_at < {{ days_after("returned.returned_at", setting("conversion_window_days")) }}
                    then 1
                else 0
            end
        ) as converted_count

    from users_with_returns as returned
    inner join payments
        on
            returned.user_id = payments.user_id
            and returned.returned_at <= payments.paid_at
            and payments.paid_at < {{ days_after("returned.returned_at", money_days) }}
            and payments.paid_at < {{ as_of_at() }}
    group by returned.campaign_id, returned.user_id, returned.planned_by

),

users_with_outcomes as (

    select
        assignments.campaign_id,
        assignments.user_id,

        assignments.planned_by,
        assignments.chosen_by,
        assignments.arm,
        assignments.event_type,
        assignments.segment,

        assignments.propensity,
        cast(coalesce(payments.revenue_amount, 0) as numeric(38, 6)) as revenue_amount,
        cast(coalesce(events.contact_cost, 0) as numeric(38, 6)) as contact_cost,
        cast(coalesce(events.reward_cost, 0) as numeric(38, 6)) as reward_cost,
        cast(coalesce(behaviour.active_days_count_365d, 0) as numeric(38, 6)) as active_days_before,
        cast(
            ln(1 + greatest(coalesce(paid_before.payments_amount_365d, 0), 0)) as numeric(38, 6)
        ) as log_payments_before,

        assignments.is_treated,
        assignments.is_treated and case
            when assignments.planned_by = 'company' then contacts_landed.user_id is not null
            when events_with_landed_contacts.event_id is null then shown.user_id is not null
            else coalesce(contacts_landed.contacted_at >= assignments.assigned_at, false)
        end as is_contacted,
        returned.user_id is not null as has_returned,
        coalesce(payments.converted_count, 0) = 1 as has_converted,
        case
            when events_with_responses.event_id is null then returned.user_id is not null
            else coalesce(first_responses.responded_at >= assignments.assigned_at, false)
        end as has_cost_of_reward,
        {{ days_after("assignments.assigned_at", setting("return_window_days")) }} <= {{ as_of_at() }}
            as is_return_known,
        {{ days_after("assignments.assigned_at", setting("return_window_days") | int + money_days) }}
        <= {{ as_of_at() }} as is_money_known,

        assignments.assigned_date,
        {{ utc_date("events.ends_at") }} as ends_date

    from assignments
    left join events
        on assignments.campaign_id = events.event_id
    left join contacts_landed
        on
            assignments.campaign_id = contacts_landed.event_id
            and assignments.user_id = contacts_landed.user_id
    left join events_with_landed_contacts
        on assignments.campaign_id = events_with_landed_contacts.event_id
    left join users_shown_to_marketing as shown
        on
            assignments.campaign_id = shown.event_id
            and assignments.user_id = shown.user_id
    left join first_responses
        on
            assignments.campaign_id = first_responses.event_id
            and assignments.user_id = first_responses.user_id
    left join events_with_responses
        on assignments.campaign_id = events_with_responses.event_id
    left join users_with_returns as returned
        on
            assignments.campaign_id = returned.campaign_id
            and assignments.user_id = returned.user_id
            and assignments.planned_by = returned.planned_by
    left join payments_after_returns as payments
        on
            assignments.campaign_id = payments.campaign_id
            and assignments.user_id = payments.user_id
            and assignments.planned_by = payments.planned_by
    -- Looked up one by one: joined as a whole the views would be computed for all users and dates there are.
    left join
        lateral ( -- noqa: ST05
            select active_days_count_365d
            from {{ ref("feat_user_behaviour") }}
            where
                user_id = assignments.user_id
                and as_of_date = assignments.assigned_date
            offset 0 -- noqa: AM09
        ) as behaviour
        on true
    left join
        lateral ( -- noqa: ST05
            select payments_amount_365d
            from {{ ref("feat_user_money") }}
            where
                user_id = assignments.user_id
                and as_of_date = assignments.assigned_date
            offset 0 -- noqa: AM09
        ) as paid_before
        on true

),

-- A single large payer would decide a campaign: what is above the quantile of its payers counts as the quantile.
revenue_limits as (

    select
        campaign_id,

        planned_by,

        percentile_cont({{ setting("revenue_quantile") }}) within group (order by revenue_amount) as revenue_limit

    from users_with_outcomes
    where
        has_converted
        and is_money_known
    group by campaign_id, planned_by

),

exp_campaign_users as (

    select
        outcomes.campaign_id,
        outcomes.user_id,

        outcomes.planned_by,
        outcomes.chosen_by,
        outcomes.arm,
        outcomes.event_type,
        outcomes.segment,

        outcomes.propensity,
        outcomes.revenue_amount,
        cast(
            case
                when revenue_limits.revenue_limit is null then outcomes.revenue_amount
                else least(outcomes.revenue_amount, revenue_limits.revenue_limit)
            end as numeric(38, 6)
        ) as winsorised_revenue_amount,
        cast(
            case when outcomes.is_contacted then outcomes.contact_cost else 0 end
            + case when outcomes.is_contacted and outcomes.has_cost_of_reward then outcomes.reward_cost else 0 end
            as numeric(38, 6)
        ) as cost_amount,
        outcomes.active_days_before,
        outcomes.log_payments_before,

        outcomes.is_treated,
        outcomes.is_contacted,
        outcomes.has_returned,
        outcomes.has_converted,
        outcomes.is_return_known,
        outcomes.is_money_known,

        outcomes.assigned_date,
        outcomes.ends_date

    from users_with_outcomes as outcomes
    left join revenue_limits
        on
            outcomes.campaign_id = revenue_limits.campaign_id
            and outcomes.planned_by = revenue_limits.planned_by

)

select * from exp_campaign_users
