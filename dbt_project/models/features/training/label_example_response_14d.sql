{{ config(materialized="view") }}

with

examples as (

    select * from {{ ref("label_example_return_14d") }}

),

responses as (

    select * from {{ ref("fct_responses") }}

),

label_example_response_14d as (

    select
        examples.example_id,

        true as has_responded,

        examples.as_of_date,

        min(responses.responded_at) as responded_at

    from examples
    inner join responses
        on
            examples.user_id = responses.user_id
            and examples.event_id = responses.event_id
            and responses.responded_at >= examples.reference_at
            and responses.responded_at < examples.return_known_at
    group by examples.example_id, examples.as_of_date

)

select * from label_example_response_14d
