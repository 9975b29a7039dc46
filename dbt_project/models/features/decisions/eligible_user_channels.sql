{{
    config(
        unique_key=["as_of_date", "user_id", "channel"],
        sql_header=settings_of_a_large_sort(),
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

-- When a user last granted and last refused, anywhere and with Rekindle itself: all that the rule asks, in one pass.
last_acts as (

    select
        user_id,

        channel,

        max(case when is_granted then decided_at end) as granted_at,
        max(case when not is_granted then decided_at end) as refused_at,
        max(case when is_granted and source = 'user' then decided_at end) as granted_here_at,
        max(case when not is_granted and source = 'user' then decided_at end) as refused_here_at

    from consents
    where
        purpose = 'marketing'
        and decided_at < {{ as_of_at() }}
    group by user_id, channel

),

-- Of two acts of the same moment the refusal counts: nobody is written to on a doubt. Who refused with Rekindle itself
-- is asked again by nobody but themselves: an import lifts no such refusal.
eligible_user_channels as (

    select
        last_acts.user_id,

        last_acts.channel,

        {{ as_of_date() }} as as_of_date

    from last_acts
    inner join users
        on last_acts.user_id = users.user_id
    where
        last_acts.granted_at is not null
        and coalesce(last_acts.granted_at > last_acts.refused_at, true)
        and (
            last_acts.refused_here_at is null
            or coalesce(last_acts.granted_here_at > last_acts.refused_here_at, false)
        )
        and users.registered_at < {{ as_of_at() }}
    -- In the order of the key, which takes rows in half the time then.
    order by last_acts.user_id, last_acts.channel

)

select * from eligible_user_channels
