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

        channel,

        row_number() over (
            partition by user_id, channel
            order by decided_at desc, is_granted asc, consent_id desc
        ) as act_number,

        is_granted

    from consents
    where
        purpose = 'marketing'
        and decided_at < {{ as_of_at() }}

),

eligible_user_channels as (

    select
        acts_known.user_id,

        acts_known.channel,

        {{ as_of_date() }} as as_of_date

    from acts_known
    inner join users
        on acts_known.user_id = users.user_id
    where
        acts_known.act_number = 1
        and acts_known.is_granted
        and users.registered_at < {{ as_of_at() }}

)

select * from eligible_user_channels
