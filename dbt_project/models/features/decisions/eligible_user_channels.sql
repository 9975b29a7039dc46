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

-- Who refused with Rekindle itself is asked again by nobody but themselves: an import lifts no such refusal.
refused_themselves as (

    select
        user_id,

        channel

    from acts_known
    where
        source = 'user'
        and act_number_of_source = 1
        and not is_granted

),

eligible_user_channels as (

    select
        acts_known.user_id,

        acts_known.channel,

        {{ as_of_date() }} as as_of_date

    from acts_known
    inner join users
        on acts_known.user_id = users.user_id
    left join refused_themselves
        on
            acts_known.user_id = refused_themselves.user_id
            and acts_known.channel = refused_themselves.channel
    where
        acts_known.act_number = 1
        and acts_known.is_granted
        and refused_themselves.user_id is null
        and users.registered_at < {{ as_of_at() }}

)

select * from eligible_user_channels
