with

sums as (

    select * from {{ ref("user_sums_as_of_dates") }}

),

-- Shares are unknown, hence null, for a user without any interaction.
feat_user_interactions as (

    select
        user_id,

        {%- for kind in var("interaction_kinds") %}
        {{ kind }}_interactions_count_90d,
        cast(
            cast({{ kind }}_interactions_count_life as numeric)
            / nullif(interactions_count_life, 0) as double precision
        ) as {{ kind }}_interactions_share,
        {%- endfor %}

        as_of_date

    from sums

)

select * from feat_user_interactions
