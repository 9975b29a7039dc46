{{
    config(
        unique_key=["as_of_date", "user_id", "channel"],
        indexes=[{"columns": ["as_of_date", "user_id", "channel"], "unique": true}],
    )
}}

with

users as (

    select * from {{ ref("dim_users") }}

),

consents as (

    select * from {{ ref("fct_consents") }}

),

-- Of two acts of the same moment the refusal counts: nobody is written to on a doubt.
acts_known as (

    select
        user_id,

        source,
        channel,

        row_number() over (
            partition by user_id, channel
            order by decided_at desc, is_granted asc, consent_id desc
        ) as act_number,
        row_number() over (
            partition by user_id, channel, source
            order by decided_at desc, is_granted asc, consent_id desc
        ) as act_number_of_source,

        is_granted

    from consents
    where
        purpose = 'marketing'
        and decided_at < {{ as_of_at() }}

),

-- Who refused with Rekindle itself is asked again by nobody but themselves: an import lifts no such refusal. It is
-- looked for among the acts of the same user and channel: for a join of ranked rows all pairs would be compared.
acts_and_refusals as (

    select
        *,

        max(
            case when source = 'user' and act_number_of_source = 1 and not is_granted then 1 else 0 end
        ) over (partition by user_id, channel) = 1 as has_refused_here

    from acts_known

),

eligible_user_channels as (

    select
        acts_and_refusals.user_id,

        acts_and_refusals.channel,

        {{ as_of_date() }} as as_of_date

    from acts_and_refusals
    inner join users
        on acts_and_refusals.user_id = users.user_id
    where
        acts_and_refusals.act_number = 1
        and acts_and_refusals.is_granted
        and not acts_and_refusals.has_refused_here
        and users.registered_at < {{ as_of_at() }}

)

select * from eligible_user_channels
