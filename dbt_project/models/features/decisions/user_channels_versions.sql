{#- By one process: helpers would each count all acts, to join them to their own part of the users. -#}
{{
    config(
        incremental_strategy="replace_versions",
        unique_key=["user_id", "channel", "valid_from_date"],
        sql_header=settings_of_look_ups() ~ settings_of_a_large_sort() ~ settings_of_sorted_joins(),
        pre_hook="{{ remember_landings() }}",
        indexes=[
            {"columns": ["user_id", "channel", "valid_from_date"], "unique": true},
            {"columns": ["valid_until_date", "user_id"]},
        ],
    )
}}

with

users as (

    select * from {{ ref("dim_users") }}

),

consents as (

    select * from {{ ref("fct_consents") }}

),

-- When a user last granted and last refused, anywhere and with Rekindle itself: all that the rule asks, in one pass. Of
-- every act in every run: the ledger does not tell which acts a run before has seen, and none may be missed.
last_acts as (

    select
        user_id,

        channel,

        max(decided_at) filter (where is_granted) as granted_at,
        max(decided_at) filter (where not is_granted) as refused_at,
        max(decided_at) filter (where is_granted and source = 'user') as granted_here_at,
        max(decided_at) filter (where not is_granted and source = 'user') as refused_here_at

    from consents
    where
        purpose = 'marketing'
        and decided_at < {{ as_of_at() }}
    group by user_id, channel

),

-- Of two acts of the same moment the refusal counts: nobody is written to on a doubt. Who refused with Rekindle itself
-- is asked again by nobody but themselves: an import lifts no such refusal.
eligible as (

    select
        last_acts.user_id,

        last_acts.channel

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

),

{%- if is_incremental() %}

known as (

    select
        user_id,

        channel

    from {{ this }} as versions
    where
        is_eligible
        and {{ holds_at("versions", as_of_date()) }}

),

-- Whoever may be written to and was not known to be, and whoever may be no longer: nobody else is written.
user_channels_versions as (

    select
        coalesce(eligible.user_id, known.user_id) as user_id,

        coalesce(eligible.channel, known.channel) as channel,

        eligible.user_id is not null as is_eligible,

        {{ validity(as_of_date()) }}

    from eligible
    full outer join known
        on
            eligible.user_id = known.user_id
            and eligible.channel = known.channel
    where
        eligible.user_id is null
        or known.user_id is null

)

{%- else %}

user_channels_versions as (

    select
        user_id,

        channel,

        true as is_eligible,

        {{ validity(as_of_date()) }}

    from eligible
    -- In the order of the key, which takes rows in half the time then.
    order by user_id, channel

)

{%- endif %}

select * from user_channels_versions
