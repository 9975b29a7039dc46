with

interactions as (

    select * from {{ ref("stg_raw__interactions") }}

),

-- What an unknown visitor did belongs to nobody until an identity is known.
fct_interactions as (

    select
        interaction_id,
        user_id,
        session_id,
        item_id,
        landing_id,

        kind,
        channel,
        query,

        cast(dwell_seconds as double precision) as dwell_seconds,

        {{ utc_date("occurred_at") }} as occurred_date,

        occurred_at

    from interactions
    where user_id is not null

)

select * from fct_interactions
