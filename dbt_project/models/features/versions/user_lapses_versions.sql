{%- set run_before = run_before_this() %}
{%- if run_before %}
{#- A message that comes late may stand before a return that is known. -#}
{%- call keep_changed_users() %}
{{ users_whose_lapses_changed(run_before) }}
union distinct
select user_id
from {{ ref("fct_exposures") }}
where
    is_contact
    and returned_at is not null
    and {{ is_open("exposed_date", run_before) }}
{%- endcall %}
{%- endif %}

{{ begins_after_the_largest() }}

with

due as (

    {{ due_user_dates(run_before) }}

),

-- A lapse that ends at as_of_date or later still goes on as far as anybody knows.
lapses_before as (

    select
        due.user_id,

        case
            when lapses.returned_date < due.as_of_date
                then {{ dbt.datediff("lapses.last_activity_date", "lapses.returned_date", "day") }}
        end as ended_lapse_days,
        case
            when
                lapses.returned_date < due.as_of_date
                and exists (
                    select 1
                    from {{ ref("fct_exposures") }} as contacts
                    where
                        contacts.is_contact
                        and contacts.user_id = lapses.user_id
                        and contacts.returned_at = lapses.returned_at
                )
                then 1
            else 0
        end as returns_after_contact_count,

        due.as_of_date,
        case when lapses.returned_date < due.as_of_date then lapses.returned_date end as returned_date

    from due
    inner join {{ ref("fct_user_lapses") }} as lapses
        on
            due.user_id = lapses.user_id
            and lapses.has_been_active
            and lapses.inactive_from_date <= due.as_of_date

),

sums as (

    select
        user_id,

        count(*) as lapses_count,
        count(ended_lapse_days) as returns_count,
        sum(returns_after_contact_count) as returns_after_contact_count,
        avg(ended_lapse_days) as mean_ended_lapse_days,
        max(ended_lapse_days) as longest_ended_lapse_days,

        as_of_date,
        max(returned_date) as last_returned_date

    from lapses_before
    group by user_id, as_of_date

),

user_lapses_versions as (

    select
        due.user_id,

        coalesce(sums.lapses_count, 0) as lapses_count,
        coalesce(sums.returns_count, 0) as returns_count,
        coalesce(sums.returns_after_contact_count, 0) as returns_after_contact_count,
        cast(sums.mean_ended_lapse_days as double precision) as mean_ended_lapse_days,
        sums.longest_ended_lapse_days,

        {{ validity("due.as_of_date") }},
        sums.last_returned_date

    from due
    {{ "left" if run_before else "inner" }} join sums
        on
            due.user_id = sums.user_id
            and due.as_of_date = sums.as_of_date

)

select * from user_lapses_versions
