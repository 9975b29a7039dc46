"""One query a table of the source contract, over the wheel's files; `{name}` stands for a value of `assumptions`."""

from local.samples.complete_journey import assumptions

#: What more than one table needs: baskets with their value, campaigns in UTC, numbered redemptions, shopping days.
PREPARATION = f"""
create table baskets as
select
    cast(basket_id as varchar) as basket_id,
    cast(household_id as varchar) as household_id,
    timezone('UTC', min(transaction_timestamp)) as bought_at,
    cast(sum(cast(sales_value as decimal(12, 2))) as decimal(12, 2)) as amount
from transactions
group by basket_id, household_id;

create table events as
select
    cast(campaign_id as varchar) as event_id,
    campaign_type,
    timezone('{assumptions.TIMEZONE}', start_date) as starts_at,
    timezone('{assumptions.TIMEZONE}', end_date + interval 1 day) as ends_at
from campaign_descriptions;

create table redemptions as
select
    row_number() over (order by redemption_date, household_id, campaign_id, coupon_upc) as redemption_number,
    *
from coupon_redemptions;

create table baskets_of_days as
select
    household_id,
    cast(timezone('{assumptions.TIMEZONE}', bought_at) as date) as bought_on,
    max(bought_at) as last_bought_at
from baskets
group by all;
"""

USERS = f"""
select
    baskets.household_id as user_id,
    -- The panel's own start is unknown: a household is known from the first minute of the day of its first purchase.
    timezone('{assumptions.TIMEZONE}', cast(cast(
        timezone('{assumptions.TIMEZONE}', min(baskets.bought_at)) as date) as timestamp)) as registered_at,
    '{assumptions.COUNTRY}' as country,
    '{assumptions.LANGUAGE}' as language,
    '{assumptions.TIMEZONE}' as timezone,
    cast(null as integer) as birth_year,
    cast(null as varchar) as acquisition_channel,
    cast(to_json(any_value(struct_pack(
        age := demographics.age,
        income := demographics.income,
        home_ownership := demographics.home_ownership,
        marital_status := demographics.marital_status,
        household_size := demographics.household_size,
        household_composition := demographics.household_comp,
        kids_count := demographics.kids_count
    )) filter (where demographics.household_id is not null)) as varchar) as attributes
from baskets
left join demographics on baskets.household_id = cast(demographics.household_id as varchar)
group by baskets.household_id
order by user_id
"""

SESSIONS = f"""
select
    basket_id as session_id,
    household_id as user_id,
    bought_at as started_at,
    {assumptions.SESSION_DURATION_SECONDS} as duration_seconds,
    'store' as device_type,
    '{assumptions.COUNTRY}' as country
from baskets
order by started_at, session_id
"""

PAYMENTS = f"""
select
    basket_id as payment_id,
    household_id as user_id,
    bought_at as paid_at,
    amount,
    '{assumptions.CURRENCY}' as currency,
    'purchase' as kind
from baskets
where amount > 0
order by paid_at, payment_id
"""

EVENTS = f"""
with discounts as (
    -- What a redeemed coupon took off the bill: the lines of that household, day and coupon with a discount.
    select redemption_number, redemptions.campaign_id, sum(transactions.coupon_disc) as discount
    from redemptions
    inner join coupons using (coupon_upc, campaign_id)
    inner join transactions
        on redemptions.household_id = transactions.household_id
        and coupons.product_id = transactions.product_id
        and cast(timezone('{assumptions.TIMEZONE}', timezone('UTC', transactions.transaction_timestamp)) as date)
            = cast(redemptions.redemption_date as date)
        and transactions.coupon_disc > 0
    group by all
),
reward_costs as (
    select campaign_type, cast(round(avg(discount), 2) as decimal(12, 2)) as reward_cost
    from discounts inner join campaign_descriptions using (campaign_id)
    group by campaign_type
),
mailings as (
    select cast(campaign_id as varchar) as event_id, count(*) as mailed from campaigns group by all
)
select
    event_id,
    'campaign_' || replace(lower(campaign_type), ' ', '_') as event_type,
    'Coupon campaign ' || event_id || ' (' || lower(campaign_type) || ')' as title,
    starts_at,
    ends_at,
    reward_cost,
    cast({assumptions.CONTACT_COST} as decimal(12, 2)) as contact_cost,
    cast(mailed + greatest(ceil(mailed * {assumptions.CAPACITY_GROWTH}), {assumptions.CAPACITY_GROWTH_AT_LEAST})
        as bigint) as capacity
from events
inner join reward_costs using (campaign_type)
inner join mailings using (event_id)
order by starts_at, event_id
"""

EXPOSURES = """
select
    event_id || '-' || campaigns.household_id as exposure_id,
    event_id,
    cast(campaigns.household_id as varchar) as user_id,
    starts_at as exposed_at,
    'mail' as channel,
    'treated' as arm,
    cast(null as double) as assignment_probability
from campaigns
inner join events on events.event_id = cast(campaigns.campaign_id as varchar)
order by exposed_at, exposure_id
"""

RESPONSES = """
select
    'redemption-' || redemption_number as response_id,
    cast(campaign_id as varchar) as event_id,
    redemptions.household_id::varchar as user_id,
    -- Only the day is known: the household's last basket of that day, so that no one knows of it too early.
    last_bought_at as responded_at
from redemptions
inner join baskets_of_days
    on baskets_of_days.household_id = cast(redemptions.household_id as varchar)
    and baskets_of_days.bought_on = cast(redemptions.redemption_date as date)
order by redemption_number
"""

CONSENTS = f"""
select distinct
    household_id || '-{assumptions.CONSENT_CHANNEL}-marketing' as consent_id,
    household_id as user_id,
    '{assumptions.CONSENT_CHANNEL}' as channel,
    'marketing' as purpose,
    true as is_granted,
    timezone('{assumptions.TIMEZONE}', timestamp '{assumptions.CONSENT_DECIDED_ON}') as decided_at
from baskets
order by user_id
"""

ITEMS = """
select
    cast(product_id as varchar) as item_id,
    'product' as item_kind,
    coalesce(product_type, product_category, department) as title,
    product_category as category,
    cast(null as decimal(12, 2)) as price,
    cast(to_json(struct_pack(
        department := department, brand := brand, manufacturer_id := manufacturer_id, package_size := package_size
    )) as varchar) as attributes
from products
order by item_id
"""

INTERACTIONS = """
select
    basket_id || '-' || product_id as interaction_id,
    cast(household_id as varchar) as user_id,
    cast(basket_id as varchar) as session_id,
    timezone('UTC', transaction_timestamp) as occurred_at,
    'purchase' as kind,
    cast(product_id as varchar) as item_id
from transactions
"""

TABLES = {
    "users": USERS,
    "sessions": SESSIONS,
    "payments": PAYMENTS,
    "events": EVENTS,
    "exposures": EXPOSURES,
    "responses": RESPONSES,
    "consents": CONSENTS,
    "items": ITEMS,
    "interactions": INTERACTIONS,
}
