{#- Named here, where dbt looks for what a model depends on before anything was run. -#}
{%- set landed_friendships = ref("stg_raw__friendships") %}
{%- set run_before = run_before_this() %}
{%- if run_before %}
{#- Of whom something else is to be told than at the run before: new friends and users, a lapse that began, ended, or
    never was as a late row shows, a return that is no longer recent, and money that came or is too long ago. -#}
{%- call keep_changed_users() %}
with

changed_friends as (

    select user_id
    from {{ ref("int_friendships_mirrored") }}
    where
        befriended_date >= {{ run_before["as_of_date"] }}
        and befriended_date < {{ as_of_date() }}
    union distinct
    select user_id
    from {{ landed_friendships }}
    where
        befriended_at >= {{ start_of_day(run_before["open_from_date"]) }}
        and befriended_at < {{ as_of_at() }}
        and {{ has_landed_after(run_before) }}
    union distinct
    select friend_id as user_id
    from {{ landed_friendships }}
    where
        befriended_at >= {{ start_of_day(run_before["open_from_date"]) }}
        and befriended_at < {{ as_of_at() }}
        and {{ has_landed_after(run_before) }}
    union distinct
    select user_id
    from {{ ref("dim_users") }}
    where
        registered_at < {{ as_of_at() }}
        and (registered_date >= {{ run_before["as_of_date"] }} or {{ has_landed_after(run_before) }})
    union distinct
    {{ users_whose_lapses_changed(run_before) }}
    union distinct
    select user_id
    from {{ ref("fct_user_days") }}
    where
        {{ is_leaving(28, run_before) }}
        and coalesce(days_since_previous_activity > {{ setting("inactive_after_days") }}, true)
    union distinct
    select user_id
    from {{ ref("fct_user_days") }}
    where
        payments_count > 0
        and {{ is_changed_day(run_before) }}
    union distinct
    select user_id
    from {{ ref("fct_user_days") }}
    where
        payments_count > 0
        and {{ is_leaving(365, run_before) }}

)

select distinct friendships.friend_id as user_id
from changed_friends
inner join {{ ref("int_friendships_mirrored") }} as friendships
    on changed_friends.user_id = friendships.user_id
{%- endcall %}
{%- endif %}

with

users as (

    select * from {{ ref("dim_users") }}

),

due as (

    {{ due_user_dates(run_before) }}

),

friends as (

    select
        due.user_id,
        friendships.friend_id,

        due.as_of_date

    from due
    inner join {{ ref("int_friendships_mirrored") }} as friendships
        on
            due.user_id = friendships.user_id
            and friendships.befriended_at < {{ start_of_day("due.as_of_date") }}
    inner join users
        on
            friendships.friend_id = users.user_id
            and users.registered_at < {{ start_of_day("due.as_of_date") }}

),

friends_of_a_date as (

    select distinct
        friend_id,

        as_of_date

    from friends
    -- Says nothing about rows: look-ups of one friend after the other find their pages in memory.
    order by friend_id, as_of_date

),

-- Looked up friend by friend: of joins of three lists Postgres takes the result for two rows, and compares all pairs.
what_friends_do as (

    select
        friends_of_a_date.friend_id,

        friendships_known.friends_count,
        absences.is_inactive,
        absences.has_returned,
        spending.payments_amount,

        friends_of_a_date.as_of_date

    from friends_of_a_date
    cross join
        lateral (
            select count(*) as friends_count
            from {{ ref("int_friendships_mirrored") }} as friendships
            where
                friendships.user_id = friends_of_a_date.friend_id
                and friendships.befriended_at < {{ start_of_day("friends_of_a_date.as_of_date") }}
        ) as friendships_known
    cross join
        lateral ( -- noqa: ST05
            select
                coalesce(max(
                    case
                        when
                            last_lapses.returned_date is null
                            or last_lapses.returned_date >= friends_of_a_date.as_of_date
                            then 1
                    end
                ), 0) as is_inactive,
                coalesce(max(
                    case
                        when
                            last_lapses.returned_date < friends_of_a_date.as_of_date
                            and last_lapses.returned_date >= {{ date_after("friends_of_a_date.as_of_date", -28) }}
                            then 1
                    end
                ), 0) as has_returned
            from (
                -- One may go on, and no more can have ended within the days that are asked for.
                select known_lapses.returned_date
                from {{ ref("fct_user_lapses") }} as known_lapses
                where
                    known_lapses.user_id = friends_of_a_date.friend_id
                    and known_lapses.inactive_from_date <= friends_of_a_date.as_of_date
                order by known_lapses.inactive_from_date desc
                limit {{ 28 // (setting("inactive_after_days") | int + 1) + 2 }}
            ) as last_lapses
        ) as absences
    cross join
        lateral (
            select coalesce(sum(paying_days.payments_amount), 0) as payments_amount
            from {{ ref("fct_user_days") }} as paying_days
            where
                paying_days.user_id = friends_of_a_date.friend_id
                and paying_days.payments_count > 0
                and paying_days.activity_date < friends_of_a_date.as_of_date
                and paying_days.activity_date >= {{ date_after("friends_of_a_date.as_of_date", -365) }}
        ) as spending
    -- Says nothing about rows, and makes Postgres look up each friend once, not once for each user who has them.
    offset 0 -- noqa: AM09

),

sums as (

    select
        friends.user_id,

        count(*) as friends_count,
        sum(1 - what_friends_do.is_inactive) as active_friends_count,
        sum(what_friends_do.has_returned) as friends_returned_count_28d,
        sum(what_friends_do.payments_amount) as friends_payments_amount_365d,
        sum(round(cast(1 as numeric) / what_friends_do.friends_count, 12)) as social_influence_degree_normalised,

        friends.as_of_date

    from friends
    inner join what_friends_do
        on
            friends.friend_id = what_friends_do.friend_id
            and friends.as_of_date = what_friends_do.as_of_date
    group by friends.user_id, friends.as_of_date

),

user_social_versions as (

    select
        due.user_id,

        coalesce(sums.friends_count, 0) as friends_count,
        cast(coalesce(sums.active_friends_count, 0) as bigint) as active_friends_count,
        cast(coalesce(sums.friends_returned_count_28d, 0) as bigint) as friends_returned_count_28d,
        cast(coalesce(sums.friends_payments_amount_365d, 0) as numeric(38, 6)) as friends_payments_amount_365d,
        cast(coalesce(sums.social_influence_degree_normalised, 0) as double precision)
            as social_influence_degree_normalised,

        {{ validity("due.as_of_date") }}

    from due
    {{ "left" if run_before else "inner" }} join sums
        on
            due.user_id = sums.user_id
            and due.as_of_date = sums.as_of_date

)

select * from user_social_versions
