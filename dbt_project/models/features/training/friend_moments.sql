{{ config(materialized="view") }}

{#- Moments without a return are looked at on the last date whose window has closed, and every so many days before. #}
{%- set days_between = 56 %}
{%- set window = setting("return_window_days") | int %}
{%- set first_days_ago = window + 1 %}

with

lapses as (

    select * from {{ ref("fct_user_lapses") }}
    where
        has_been_active
        and inactive_from_date < {{ as_of_date() }}

),

friendships as (

    select * from {{ ref("int_friendships_mirrored") }}

),

lapses_in_order as (

    select
        user_id,

        least(row_number() over (partition by user_id order by inactive_from_date) - 1, 2) as earlier_lapses_group,

        last_activity_date,
        inactive_from_date,
        case when returned_date < {{ as_of_date() }} then returned_date end as returned_date

    from lapses

),

returns as (

    select
        user_id,

        returned_date as moment_date

    from lapses_in_order
    where
        returned_date <= {{ date_after(as_of_date(), -first_days_ago) }}
        and returned_date >= {{ date_after(as_of_date(), -365) }}

),

returning_users as (

    select distinct user_id
    from returns

),

dates as (

    {%- for number in range(365 // days_between) %}
    select {{ date_after(as_of_date(), -(first_days_ago + number * days_between)) }} as moment_date
    {% if not loop.last %}union all{% endif %}
    {%- endfor %}

),

-- The same kind of user as those who returned: whoever never returns has other friends.
silences as (

    select
        lapses_in_order.user_id,

        row_number() over (
            partition by dates.moment_date order by md5(lapses_in_order.user_id), lapses_in_order.user_id
        ) as draw_number,

        dates.moment_date

    from dates
    inner join lapses_in_order
        on
            lapses_in_order.inactive_from_date <= dates.moment_date
            and (lapses_in_order.returned_date is null or lapses_in_order.returned_date > dates.moment_date)
    inner join returning_users
        on lapses_in_order.user_id = returning_users.user_id

),

moments as (

    select
        user_id,

        true as is_after_return,

        moment_date

    from returns
    union all
    select
        user_id,

        false as is_after_return,

        moment_date

    from silences
    where draw_number <= {{ setting("friend_moments_per_date") }}

),

moments_of_friends as (

    select
        moments.user_id,
        friendships.friend_id,

        lapses_in_order.earlier_lapses_group,
        {{ dbt.datediff("moments.moment_date", as_of_date(), "day") }} as days_ago,
        {{ dbt.datediff("lapses_in_order.last_activity_date", "moments.moment_date", "day") }} as silence_days,

        moments.is_after_return,
        coalesce(
            lapses_in_order.returned_date <= {{ date_after("moments.moment_date", window) }}, false
        ) as has_returned

    from moments
    inner join friendships
        on
            moments.user_id = friendships.user_id
            and friendships.befriended_at < {{ start_of_day("moments.moment_date") }}
    inner join lapses_in_order
        on
            friendships.friend_id = lapses_in_order.user_id
            and lapses_in_order.inactive_from_date <= moments.moment_date
            and (lapses_in_order.returned_date is null or lapses_in_order.returned_date > moments.moment_date)

),

-- A friend who stands before the returns of three is credited to each with a third.
moments_with_credit as (

    select
        user_id,

        cast(floor(days_ago / {{ days_between }}) as integer) as period_number,
        case
            when silence_days <= 45 then 1 when silence_days <= 90 then 2 when silence_days <= 180 then 3 else 4
        end as silence_group,
        cast(earlier_lapses_group as integer) as earlier_lapses_group,
        case
            when is_after_return
                then round(
                    cast(1 as numeric) / count(*) over (
                        partition by friend_id, is_after_return
                        order by days_ago
                        range between current row and {{ window }} following
                    ),
                    6
                )
            else 1
        end as credit,

        is_after_return,
        has_returned

    from moments_of_friends

),

friend_moments as (

    select
        user_id,

        period_number,
        silence_group,
        earlier_lapses_group,
        cast(sum(credit) as double precision) as inactive_friends_count,
        cast(sum(case when has_returned then credit else 0 end) as double precision) as returned_friends_count,

        is_after_return

    from moments_with_credit
    group by user_id, period_number, silence_group, earlier_lapses_group, is_after_return

)

select * from friend_moments
