with

feat_user_interactions as (

    select
        user_id,

        {%- for kind in var("interaction_kinds") %}
        {{ kind }}_interactions_count_90d,
        {{ kind }}_interactions_share,
        {%- endfor %}

        as_of_date

    from {{ ref("user_features_of_sums") }}

)

select * from feat_user_interactions
