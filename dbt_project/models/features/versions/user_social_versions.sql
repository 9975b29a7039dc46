{%- set run_before = run_before_this() %}

with

users as (

    select * from {{ ref("dim_users") }}

),
{%- if run_before %}

-- Of whom something else is to be told than at the run before: new friends, a lapse that began, ended, or never was as
-- a late row shows, a return that is no longer recent, and money that came or is too long ago.
changed_friends as (

    select user_id
    from {{ ref("int_friendships_mirrored") }}
    where {{ is_open("befriended_date", run_before) }} -- noqa: LT02
    union distinct
    {{ users_whose_lapses_changed(run_before) }}
    union distinct
    select user_id
    from {{ ref("fct_user_days") }}
    where
        {{ is_leaving(28, run_before) }} -- noqa: LT02
        and coalesce(days_since_previous_activity > {{ setting("inactive_after_days") }}, true)
    union distinct
    select user_id
    from {{ ref("fct_user_days") }}
    where
        payments_count > 0
        and {{ is_changed_day(run_before) }} -- noqa: LT02
    union distinct
    select user_id
    from {{ ref("fct_user_days") }}
    where
        payments_count > 0
        and {{ is_leaving(365, run_before) }}

),

changed_users as ( -- noqa: ST03

    select distinct friendships.friend_id as user_id
    from changed_friends
    inner join {{ ref("int_friendships_mirrored") }} as friendships
        on changed_friends.user_id = friendships.user_id

),
{%- endif %}

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

),

degrees as (

    select
        friends_of_a_date.friend_id,

        count(*) as friends_count,

        friends_of_a_date.as_of_date

    from friends_of_a_date
    inner join {{ ref("int_friendships_mirrored") }} as friendships
        on
            friends_of_a_date.friend_id = friendships.user_id
            and friendships.befriended_at < {{ start_of_day("friends_of_a_date.as_of_date") }}
    group by friends_of_a_date.friend_id, friends_of_a_date.as_of_date

),

friends_and_lapses as (

    select
        friends_of_a_date.friend_id,

        max(
            case
                when lapses.returned_date is null or lapses.returned_date >= friends_of_a_date.as_of_date then 1
                else 0
            end
        ) as is_inactive,
        max(
            case
                when
                    lapses.returned_date < friends_of_a_date.as_of_date
                    and lapses.returned_date >= {{ date_after("friends_of_a_date.as_of_date", -28) }}
                    then 1
                else 0
            end
        ) as has_returned,

        friends_of_a_date.as_of_date

    from friends_of_a_date
    inner join {{ ref("fct_user_lapses") }} as lapses
        on
            friends_of_a_date.friend_id = lapses.user_id
            and lapses.inactive_from_date <= friends_of_a_date.as_of_date
    group by friends_of_a_date.friend_id, friends_of_a_date.as_of_date

),

friends_and_money as (

    select
        friends_of_a_date.friend_id,

        sum(paying_days.payments_amount) as payments_amount,

        friends_of_a_date.as_of_date

    from friends_of_a_date
    inner join {{ ref("fct_user_days") }} as paying_days
        on
            friends_of_a_date.friend_id = paying_days.user_id
            and paying_days.payments_count > 0
            and paying_days.activity_date < friends_of_a_date.as_of_date
            and {{ date_after("friends_of_a_date.as_of_date", -365) }} <= paying_days.activity_date
    group by friends_of_a_date.friend_id, friends_of_a_date.as_of_date

),

sums as (

    select
        friends.user_id,

        count(*) as friends_count,
        sum(1 - coalesce(friends_and_lapses.is_inactive, 0)) as active_friends_count,
        sum(coalesce(friends_and_lapses.has_returned, 0)) as friends_returned_count_28d,
        sum(coalesce(friends_and_money.payments_amount, 0)) as friends_payments_amount_365d,
        sum(round(cast(1 as numeric) / degrees.friends_count, 12)) as social_influence_degree_normalised,

        friends.as_of_date

    from friends
    inner join degrees
        on
            friends.friend_id = degrees.friend_id
            and friends.as_of_date = degrees.as_of_date
    left join friends_and_lapses
        on
            friends.friend_id = friends_and_lapses.friend_id
            and friends.as_of_date = friends_and_lapses.as_of_date
    left join friends_and_money
        on
            friends.friend_id = friends_and_money.friend_id
            and friends.as_of_date = friends_and_money.as_of_date
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
