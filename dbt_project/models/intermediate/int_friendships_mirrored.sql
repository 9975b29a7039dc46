{{
    config(
        materialized="incremental",
        incremental_strategy="replace_from",
        unique_key="befriended_date",
        on_schema_change="fail",
        pre_hook="{{ remember_landings() }}",
        indexes=[
            {"columns": ["user_id", "friend_id"], "unique": true},
            {"columns": ["befriended_date"]},
        ],
    )
}}

{%- set redo_from = first_date_to_redo("befriended_date", setting("late_arrival_days")) if is_incremental() %}

with

friendships as (

    select * from {{ ref("stg_raw__friendships") }}
    {%- if is_incremental() %}
    where befriended_at >= {{ start_of_day(redo_from) }}
    {%- endif %}

),

-- A friendship counts for both, whoever of the two the source names first.
both_directions as (

    select
        user_id,
        friend_id,

        befriended_at

    from friendships
    union all
    select
        friend_id as user_id,
        user_id as friend_id,

        befriended_at

    from friendships

),

mirrored as (

    select
        user_id,
        friend_id,

        min(befriended_at) as befriended_at

    from both_directions
    where user_id <> friend_id
    group by user_id, friend_id

),

int_friendships_mirrored as (

    select
        user_id,
        friend_id,

        {{ utc_date("befriended_at") }} as befriended_date,

        befriended_at

    from mirrored
    {%- if is_incremental() %}
    where
        not exists (
            select 1
            from {{ this }} as known
            where
                known.user_id = mirrored.user_id
                and known.friend_id = mirrored.friend_id
                and known.befriended_date < {{ redo_from }}
        )
    {%- endif %}

)

select * from int_friendships_mirrored
