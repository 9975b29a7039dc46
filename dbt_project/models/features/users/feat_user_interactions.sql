with

due as (

    {{ due_user_dates() }}

),

interaction_days as (

    select * from {{ ref("fct_user_days") }}
    where interactions_count > 0

),

interaction_days_before as (

    select
        due.user_id,

        interaction_days.interactions_count,
        {%- for kind in var("interaction_kinds") %}
        interaction_days.{{ kind }}_interactions_count,
        {%- endfor %}
        {{ dbt.datediff("interaction_days.activity_date", "due.as_of_date", "day") }} as days_ago,

        due.as_of_date

    from due
    inner join interaction_days
        on
            due.user_id = interaction_days.user_id
            and interaction_days.activity_date < due.as_of_date

),

sums as (

    select
        user_id,

        cast(sum(interactions_count) as numeric) as interactions_count,
        {%- for kind in var("interaction_kinds") %}
        sum({{ kind }}_interactions_count) as {{ kind }}_interactions_count,
        {{ sum_within(kind ~ "_interactions_count", 90) }} as {{ kind }}_interactions_count_90d,
        {%- endfor %}

        as_of_date

    from interaction_days_before
    group by user_id, as_of_date

),

feat_user_interactions as (

    select
        due.user_id,

        {%- for kind in var("interaction_kinds") %}
        cast(coalesce(sums.{{ kind }}_interactions_count_90d, 0) as bigint) as {{ kind }}_interactions_count_90d,
        cast(
            sums.{{ kind }}_interactions_count / sums.interactions_count as double precision
        ) as {{ kind }}_interactions_share,
        {%- endfor %}

        due.as_of_date

    from due
    left join sums
        on
            due.user_id = sums.user_id
            and due.as_of_date = sums.as_of_date

)

select * from feat_user_interactions
