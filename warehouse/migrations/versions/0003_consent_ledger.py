"""The consent ledger: acts are only ever added, grants in force follow from them, and the audience hangs on grants."""

from alembic import op

from warehouse.migrations.consent_feed import feed_consent_ledger
from warehouse.migrations.tables import NewTable, quoted, run

revision = "0003"
down_revision = "0002"

USER = ("user_id", "text not null", "Identifier of the user in the source.")
CHANNEL = ("channel", "text not null check (channel <> '')", "The channel the act is about.")
PURPOSE = ("purpose", "text not null check (purpose in ('marketing', 'profiling'))", "What the data may be used for.")

TABLES = [
    NewTable(
        "privacy.consent_acts",
        "One row per act of consent, only ever added. A refusal that the user gave to Rekindle itself is lifted by a "
        "newer act of the user's own alone, never by an import; otherwise the newest act counts, of two at the same "
        "moment the refusal.",
        [
            (
                "source",
                "text not null check (source in ('user', 'import'))",
                "user: the act was done with Rekindle itself (link in a message, preference page, a person at the "
                "desk); import: a row of raw.consents, which tells what another system knew.",
            ),
            ("consent_id", "text not null default gen_random_uuid()", "Identifier of the act within its source."),
            USER,
            CHANNEL,
            PURPOSE,
            ("is_granted", "boolean not null", "True for a grant, false for a withdrawal."),
            ("decided_at", "timestamptz not null", "When the user decided."),
            ("recorded_at", "timestamptz not null default current_timestamp", "When the ledger learned of it."),
        ],
        ["primary key (source, consent_id)"],
    ),
    NewTable(
        "privacy.consent_states",
        "One row per user, channel and purpose: the newest act, and the newest of the user's own. Kept by the ledger.",
        [
            USER,
            CHANNEL,
            PURPOSE,
            ("decided_at", "timestamptz not null", "When the newest act was decided."),
            ("is_granted", "boolean not null", "What the newest act says."),
            ("own_decided_at", "timestamptz", "When the newest act with Rekindle itself was decided."),
            ("own_is_granted", "boolean", "What it says."),
        ],
        ["primary key (user_id, channel, purpose)"],
    ),
    NewTable(
        "privacy.granted_consents",
        "One row per consent that is in force at this moment. Kept by the ledger alone: nobody writes it directly.",
        [
            USER,
            CHANNEL,
            PURPOSE,
            ("granted_at", "timestamptz not null", "When the user granted it."),
        ],
        ["primary key (user_id, channel, purpose)"],
    ),
]

# Each state row is locked by its upsert until the commit, so that two acts of one user follow one another; in the order
# of the key, so that two transactions cannot wait for each other.
APPLY_ACTS = """
create function privacy.apply_consent_acts() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
    insert into privacy.consent_states as known
        (user_id, channel, purpose, decided_at, is_granted, own_decided_at, own_is_granted)
    select
        newest.user_id, newest.channel, newest.purpose, newest.decided_at, newest.is_granted,
        own.decided_at, own.is_granted
    from (
        select distinct on (user_id, channel, purpose) user_id, channel, purpose, decided_at, is_granted
        from arrived order by user_id, channel, purpose, decided_at desc, is_granted
    ) as newest
    left join (
        select distinct on (user_id, channel, purpose) user_id, channel, purpose, decided_at, is_granted
        from arrived where source = 'user' order by user_id, channel, purpose, decided_at desc, is_granted
    ) as own using (user_id, channel, purpose)
    order by newest.user_id, newest.channel, newest.purpose
    on conflict (user_id, channel, purpose) do update set
        (decided_at, is_granted) = (
            select moment, says from (values
                (excluded.decided_at, excluded.is_granted), (known.decided_at, known.is_granted)
            ) as acts (moment, says)
            order by moment desc, says limit 1
        ),
        (own_decided_at, own_is_granted) = (
            select moment, says from (values
                (excluded.own_decided_at, excluded.own_is_granted), (known.own_decided_at, known.own_is_granted)
            ) as acts (moment, says)
            order by moment desc nulls last, says limit 1
        );
    delete from privacy.granted_consents as granted
    using privacy.consent_states as states, (select distinct user_id, channel, purpose from arrived) as touched
    where (states.user_id, states.channel, states.purpose) = (touched.user_id, touched.channel, touched.purpose)
        and (granted.user_id, granted.channel, granted.purpose) = (touched.user_id, touched.channel, touched.purpose)
        and not (states.is_granted and coalesce(states.own_is_granted, true));
    insert into privacy.granted_consents (user_id, channel, purpose, granted_at)
    select states.user_id, states.channel, states.purpose, states.decided_at
    from privacy.consent_states as states
    inner join (select distinct user_id, channel, purpose from arrived) as touched using (user_id, channel, purpose)
    where states.is_granted and coalesce(states.own_is_granted, true)
    order by states.user_id, states.channel, states.purpose
    on conflict (user_id, channel, purpose) do nothing;
    return null;
end $$
"""

# A publish holds a stronger lock on publications: a suppression waits for it, then finds the rows it wrote.
APPLY_SUPPRESSIONS = """
create function privacy.apply_suppressions() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
    lock table marketing.publications in row exclusive mode;
    delete from marketing.targets using arrived
    where arrived.is_suppressed and targets.user_id = arrived.user_id
        and arrived.channel in (targets.channel, 'all');
    return null;
end $$
"""

REFUSE_CHANGES = """
create function privacy.refuse_changes() returns trigger language plpgsql set search_path = pg_catalog as $$
begin
    raise exception '%.% is append-only: add a newer row, which counts from then on.', tg_table_schema, tg_table_name
        using errcode = 'restrict_violation';
end $$
"""

REFUSE_OTHERS = """
create function privacy.refuse_others() returns trigger language plpgsql set search_path = pg_catalog as $$
begin
    if pg_trigger_depth() < 2 then
        raise exception '%.% is kept by the ledger: add an act to privacy.consent_acts.', tg_table_schema, tg_table_name
            using errcode = 'restrict_violation';
    end if;
    return null;
end $$
"""

TAKE_OVER = """
create function privacy.take_over_landed_consents() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
    insert into privacy.consent_acts (source, consent_id, user_id, channel, purpose, is_granted, decided_at)
    select 'import', consent_id, user_id, channel, purpose, is_granted, decided_at from landed
    on conflict do nothing;
    return null;
end $$
"""

TRIGGERS = [
    "create trigger acts_are_applied after insert on privacy.consent_acts referencing new table as arrived "
    "for each statement execute function privacy.apply_consent_acts()",
    "create trigger suppressions_are_applied after insert on privacy.suppressions referencing new table as arrived "
    "for each statement execute function privacy.apply_suppressions()",
    *(
        f"create trigger nothing_is_changed before update or delete or truncate on privacy.{table} "
        "for each statement execute function privacy.refuse_changes()"
        for table in ("consent_acts", "suppressions")
    ),
    *(
        f"create trigger nobody_else_writes before insert or update or delete or truncate on privacy.{table} "
        "for each statement execute function privacy.refuse_others()"
        for table in ("consent_states", "granted_consents")
    ),
]

SUPPRESSIONS = [
    "alter table privacy.suppressions drop constraint suppressions_pkey",
    "alter table privacy.suppressions add column act_number bigint generated always as identity primary key",
    "alter table privacy.suppressions add column is_suppressed boolean not null default true",
    "create index suppressions_of_user on privacy.suppressions (user_id)",
    "comment on table privacy.suppressions is 'One row per act that puts a user on the list of those who must not be "
    "contacted, whatever a consent says, or takes them off it; only ever added.'",
    "comment on column privacy.suppressions.act_number is 'Ascending: of a user and channel the last act counts.'",
    "comment on column privacy.suppressions.is_suppressed is 'False takes the user off the list again.'",
    "create view privacy.current_suppressions as select user_id, channel, reason, suppressed_at from ("
    "select *, row_number() over (partition by user_id, channel order by act_number desc) as newness "
    "from privacy.suppressions) as acts where newness = 1 and is_suppressed",
    "comment on view privacy.current_suppressions is 'One row per user and channel on the suppression list now.'",
    "comment on column privacy.current_suppressions.user_id is 'Identifier of the user in the source.'",
    "comment on column privacy.current_suppressions.channel is 'The channel; all for every one.'",
    "comment on column privacy.current_suppressions.reason is 'Why: bounced, complained, asked ...'",
    "comment on column privacy.current_suppressions.suppressed_at is 'Since when.'",
]

AUDIENCE = [
    "alter table marketing.targets add column purpose text not null default 'marketing' check (purpose = 'marketing')",
    "delete from marketing.targets where not exists (select from privacy.granted_consents as granted where "
    "(granted.user_id, granted.channel, granted.purpose) = (targets.user_id, targets.channel, targets.purpose))",
    "alter table marketing.targets add constraint targets_are_granted foreign key (user_id, channel, purpose) "
    "references privacy.granted_consents (user_id, channel, purpose) on delete cascade",
    "comment on column marketing.targets.purpose is 'What the user is contacted for; a consent for it is in force.'",
    "alter table marketing.publications add column dropped bigint not null default 0",
    "comment on column marketing.publications.dropped is "
    + quoted("Users of the plan who were left out because consent, cap or event had changed since it was made."),
]


def upgrade() -> None:
    connection = op.get_bind()
    for table in TABLES:
        for statement in table.statements():
            run(connection, statement)
    functions = [APPLY_ACTS, APPLY_SUPPRESSIONS, REFUSE_CHANGES, REFUSE_OTHERS, TAKE_OVER]
    for statement in [*functions, *SUPPRESSIONS, *TRIGGERS]:
        run(connection, statement)
    feed_consent_ledger(connection)
    for statement in AUDIENCE:
        run(connection, statement)
