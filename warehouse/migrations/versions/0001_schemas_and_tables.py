"""Schemas, and the tables that dbt must not own."""

from alembic import op

from warehouse.migrations.roles import SCHEMAS
from warehouse.migrations.tables import NewTable, quoted, run

revision = "0001"
down_revision = None

DATE = ("as_of_date", "date not null", "Everything known strictly before this date, 00:00 UTC, was used.")
USER = ("user_id", "text not null", "Identifier of the user in the source.")
MODEL = ("model_version", "text not null", "Version of the models, from their content.")
SEGMENT = ("segment", "text not null", "Segment of the user as of the date.")
CHANCES = [
    ("p_return", "double precision", "Chance to return within the return window if invited to the event."),
    ("p_return_if_not_contacted", "double precision", "Chance to return within the return window without contact."),
]
VALUES = [
    ("lifetime_value", "numeric", "Expected revenue of the user beyond the value horizon, in the data's currency."),
    ("value_score", "numeric", "What users are ranked by, in the data's currency."),
]
CHOSEN = [
    ("event_id", "text", "The event the user is invited to, or would be."),
    ("event_type", "text", "Type of that event."),
    ("channel", "text", "Channel of the invitation; empty where there is none."),
]

QUARANTINE = [
    NewTable(
        "quarantine.rows",
        "One row per received row that breaks the source contract.",
        [
            ("table_name", "text not null", "The table of the contract the row was meant for."),
            ("row_hash", "text not null", "md5 of raw_row, so that a row received again is known."),
            ("copy", "integer not null", "1 for the first row of this very content, 2 for the next ..."),
            ("batch_id", "text not null", "The landing that received the row, see audit.landings."),
            ("source", "text not null", "Name of the file."),
            ("row_offset", "bigint not null", "Where: the line on which it begins (CSV), the row's number (Parquet)."),
            ("column_name", "text", "The first column that breaks the contract; empty where the row cannot be split."),
            ("reason", "text not null", "What is wrong, in one sentence without the value."),
            ("raw_row", "text not null", "The row as received: the text of the CSV, a JSON object from Parquet."),
            (
                "fields",
                "json",
                "The row's fields, kept where the row may land later because it only refers to "
                "something not landed yet.",
            ),
            ("released_by_batch", "text", "The later landing that brought what the row refers to; it is in raw now."),
        ],
        ["primary key (table_name, row_hash, copy)"],
    ),
]

AUDIT = [
    NewTable(
        "audit.landings",
        "One row per landing and table: good + quarantined + duplicates = received.",
        [
            ("landing_id", "bigint not null", "Ascending number of the landing."),
            ("table_name", "text not null", "The table of the contract."),
            ("batch_id", "text not null", "From the content of all files of the folder: the same files, the same id."),
            ("source", "text not null", "Name of the file."),
            ("received", "bigint not null", "Rows in the file."),
            ("good", "bigint not null", "Rows that landed in raw."),
            ("quarantined", "bigint not null", "Rows that went to quarantine.rows."),
            ("duplicates", "bigint not null", "Rows dropped because exactly the same was received before."),
            ("released", "bigint not null", "Rows of earlier landings that left quarantine with this one."),
            ("landed_at", "timestamptz not null default current_timestamp", "When it was landed."),
        ],
        ["primary key (landing_id, table_name)", "check (good + quarantined + duplicates = received)"],
    ),
    NewTable(
        "audit.expectation_results",
        "One row per as_of_date and expectation: what the gate found when it ran last.",
        [
            DATE,
            ("suite", "text not null", "The suite, <schema>__<table>."),
            ("expectation", "text not null", "Kind of expectation."),
            ("column_name", "text not null default ''", "The column it is about; empty where it is about the table."),
            ("severity", "text not null", "critical stops the chain, warning is reported."),
            ("is_met", "boolean not null", "Whether the batch is as expected."),
            ("observed", "text", "What was found."),
            ("because", "text not null", "Why it is expected."),
        ],
        ["primary key (as_of_date, suite, expectation, column_name, because)"],
    ),
]

PREDICTIONS = [
    NewTable(
        "predictions.user_scores",
        "One row per as_of_date and inactive user.",
        [
            DATE,
            USER,
            SEGMENT,
            ("p_alive", "double precision", "Chance that the user has not left for good."),
            CHANCES[1],
            ("p_return_best", "double precision", "Chance to return if invited to the best event."),
            ("best_event_id", "text", "The event that adds most; empty where none is open."),
            ("p_conversion", "double precision", "Chance of a payment within the conversion window after a return."),
            *VALUES,
            ("social_influence", "numeric", "What the user is worth to friends, in the data's currency."),
            ("is_reachable", "boolean not null", "Whether a marketing consent for any channel is granted."),
            MODEL,
        ],
        ["primary key (as_of_date, user_id)"],
    ),
    NewTable(
        "predictions.response_scores",
        "One row per as_of_date, user and event: the three events that add most.",
        [
            DATE,
            USER,
            ("event_id", "text not null", "The open event."),
            ("event_type", "text not null", "Type of the event."),
            ("channel", "text", "Channel the score is for; empty where it does not matter."),
            *CHANCES,
            ("uplift", "double precision", "p_return - p_return_if_not_contacted."),
            ("uplift_low", "double precision", "Lower end of the uplift's interval."),
            ("uplift_high", "double precision", "Upper end of the uplift's interval."),
            ("p_conversion", "double precision", "Chance of a payment after a return if invited."),
            ("p_conversion_if_not_contacted", "double precision", "Chance of a payment after a return on one's own."),
            ("expected_revenue", "numeric", "Revenue within the value horizon after a return with a payment."),
            ("expected_value", "numeric", "What inviting the user adds, in the data's currency."),
            ("evidence", "text not null", "What the uplift rests on: randomised, adjusted or insufficient."),
            ("explanation", "text", "Why the score is what it is, in words."),
            MODEL,
        ],
        ["primary key (as_of_date, user_id, event_id)"],
    ),
    NewTable(
        "predictions.segments",
        "One row per as_of_date and segment.",
        [
            DATE,
            ("segment", "text not null", "Name of the segment."),
            ("size", "bigint not null", "Inactive users in it."),
            ("share", "double precision not null", "Share of the inactive users."),
            ("definition", "text not null", "What its users have in common, in words."),
            ("medians", "jsonb not null", "Medians of the main features."),
            ("best_event_type", "text", "Event type that adds most; empty where none is open."),
            ("expected_value", "numeric", "Mean of what inviting a user adds, in the data's currency."),
        ],
        ["primary key (as_of_date, segment)"],
    ),
    NewTable(
        "predictions.decisions",
        "One row per as_of_date and inactive user.",
        [
            DATE,
            USER,
            (
                "decision",
                "text not null check (decision in ('target', 'control', 'holdout', 'suppressed', 'no_event'))",
                "target is invited, control kept out to measure the event, holdout never contacted, suppressed may "
                "not be contacted, no_event has none that adds anything.",
            ),
            (
                "arm",
                "text not null check (arm in ('targeted', 'random', 'rule', 'holdout', 'none'))",
                "How the user was chosen: by the models, at random, by the business's own rule, or not at all.",
            ),
            *CHOSEN,
            ("reason", "text not null", "Why, in words."),
            ("propensity", "double precision check (propensity between 0 and 1)", "Chance of being invited."),
            ("selection_probability", "double precision", "Chance that the plan chose this event for the user."),
            CHANCES[0],
            ("p_conversion", "double precision", "Chance of a payment after a return if invited to the event."),
            ("expected_incremental_value", "numeric", "What inviting the user adds, in the data's currency."),
            ("cost", "numeric", "Contact cost and expected reward cost, in the data's currency."),
            SEGMENT,
            MODEL,
        ],
        ["primary key (as_of_date, user_id)"],
    ),
    NewTable(
        "predictions.plans",
        "One row per as_of_date: the plan as a whole and how far from the optimum it can be at most.",
        [
            ("as_of_date", "date primary key", DATE[2]),
            ("candidates", "bigint not null", "Users who could have been invited."),
            ("targets", "bigint not null", "Users who are."),
            ("budget", "numeric", "Limit of the cost; empty where there is none."),
            ("cost", "numeric not null", "Cost of the plan."),
            ("value", "numeric not null", "What the plan adds."),
            ("upper_bound", "numeric not null", "What no plan within budget and capacities can exceed."),
            ("gap", "double precision not null", "Share of the upper bound that the plan may miss at most."),
            ("prices", "jsonb not null", "What one more unit of budget and one more seat would add."),
        ],
    ),
    NewTable(
        "predictions.event_effects",
        "One row per as_of_date, scope, outcome and cell: what events did.",
        [
            DATE,
            (
                "scope",
                "text not null check (scope in ('event_type', 'segment', 'channel', 'event'))",
                "How it is split.",
            ),
            ("event_type", "text not null", "Type of the events."),
            ("segment", "text not null default 'all'", "Segment at the exposure; all where not split."),
            ("channel", "text not null default 'all'", "Channel; all where not split."),
            ("event_id", "text not null default 'all'", "The event; all where not split."),
            (
                "outcome",
                "text not null check (outcome in ('return', 'conversion', 'revenue'))",
                "What is measured within its window after the exposure.",
            ),
            ("exposed", "bigint not null", "Inactive users who were invited."),
            ("controls", "bigint not null", "Inactive users they are compared with."),
            ("rate_exposed", "double precision", "Mean outcome of those invited."),
            ("rate_control", "double precision", "Mean outcome of those compared with, after adjustment."),
            ("effect", "double precision", "What the invitation added to the outcome."),
            ("low", "double precision", "Lower end of the 95 % interval of the effect."),
            ("high", "double precision", "Upper end of the 95 % interval of the effect."),
            (
                "evidence",
                "text not null check (evidence in ('randomised', 'adjusted', 'insufficient'))",
                "Whether the effect rests on a randomised control group, on adjustment, or on too little.",
            ),
            ("is_shrunk", "boolean not null", "Whether a small cell borrowed from the others of its type."),
            ("p_value", "double precision", "Chance of an effect this large where there is none."),
            ("p_value_adjusted", "double precision", "The same, corrected for the number of cells looked at."),
            ("revenue_per_contact", "numeric", "Revenue one contact added."),
            ("cost_per_contact", "numeric", "Cost of one contact with its rewards."),
            ("roi", "double precision", "(revenue - cost) / cost of a contact."),
            ("roi_low", "double precision", "Lower end of the 95 % interval of the roi."),
            ("roi_high", "double precision", "Upper end of the 95 % interval of the roi."),
            ("diagnostics", "jsonb not null", "Overlap, balance and what else says how far to trust the figure."),
        ],
        ["primary key (as_of_date, scope, outcome, event_type, segment, channel, event_id)"],
    ),
    NewTable(
        "predictions.model_versions",
        "One row per model and version.",
        [
            ("model_name", "text not null", "Name of the model."),
            ("version", "text not null", "Beginning of the artefact's sha256."),
            DATE,
            (
                "status",
                "text not null check (status in ('champion', 'challenger', 'retired'))",
                "champion scores, challenger lost the comparison, retired was champion once.",
            ),
            ("sha256", "text not null", "Hash the artefact is loaded by."),
            ("metrics", "jsonb not null", "Figures of the comparison, out of time."),
            ("trained_at", "timestamptz not null default current_timestamp", "When it was trained."),
            ("run_id", "text", "Run in MLflow."),
        ],
        ["primary key (model_name, version)"],
    ),
]

MARKETING = [
    NewTable(
        "marketing.targets",
        "One row per user to invite, of the last published as_of_date.",
        [
            DATE,
            ("user_id", "text primary key", USER[2]),
            ("rank", "bigint not null unique", "1 for the user whose invitation adds most."),
            SEGMENT,
            ("event_id", "text not null", "The event the user is invited to."),
            ("event_type", "text not null", "Type of the event."),
            ("channel", "text not null", "Channel of the invitation."),
            ("arm", "text not null", "How the user was chosen: targeted, random or rule."),
            *CHANCES,
            ("uplift", "double precision", "p_return - p_return_if_not_contacted."),
            ("p_conversion", "double precision", "Chance of a payment after a return."),
            *VALUES,
            ("expected_incremental_value", "numeric", "What the invitation adds, in the data's currency."),
            ("cost", "numeric", "Contact cost and expected reward cost, in the data's currency."),
            MODEL,
            ("reason", "text not null", "Why this user and this event, in words."),
        ],
    ),
    NewTable(
        "marketing.top_users",
        "One row per inactive user, ranked by value, of the last published as_of_date.",
        [
            DATE,
            ("user_id", "text primary key", USER[2]),
            ("rank", "bigint not null unique", "1 for the most valuable user."),
            SEGMENT,
            VALUES[1],
            CHANCES[1],
            ("p_return_best", "double precision", "Chance to return if invited to the best event."),
            ("best_event_id", "text", "The event that adds most; empty where none is open."),
            ("p_conversion", "double precision", "Chance of a payment after a return."),
            VALUES[0],
            ("p_alive", "double precision", "Chance that the user has not left for good."),
            ("social_influence", "numeric", "What the user is worth to friends, in the data's currency."),
            ("is_reachable", "boolean not null", "Whether a marketing consent for any channel is granted."),
        ],
    ),
    NewTable(
        "marketing.segment_profiles",
        "One row per segment of the last published as_of_date.",
        [
            DATE,
            ("segment", "text primary key", "Name of the segment."),
            ("size", "bigint not null", "Inactive users in it."),
            ("share", "double precision not null", "Share of the inactive users."),
            ("definition", "text not null", "What its users have in common, in words."),
            ("medians", "jsonb not null", "Medians of the main features."),
            ("best_event_type", "text", "Event type that adds most; empty where none is open."),
            ("expected_value", "numeric", "Mean of what inviting a user adds, in the data's currency."),
        ],
    ),
    NewTable(
        "marketing.publications",
        "One row per published as_of_date; the greatest is what marketing sees.",
        [
            ("as_of_date", "date primary key", DATE[2]),
            ("targets", "bigint not null", "Users to invite."),
            ("published_at", "timestamptz not null default current_timestamp", "When it was published."),
            ("sha256", "text not null", "Hash of the published targets in the order of their rank."),
        ],
    ),
]

PRIVACY = [
    NewTable(
        "privacy.contacts",
        "One row per user and channel: where messages go. Never a column of the source contract.",
        [
            USER,
            ("channel", "text not null", "email, sms, push ..."),
            ("address", "text not null", "The address itself."),
        ],
        ["primary key (user_id, channel)"],
    ),
    NewTable(
        "privacy.suppressions",
        "One row per user and channel that must not be contacted, whatever a consent says.",
        [
            USER,
            ("channel", "text not null default 'all'", "The channel; all for every one."),
            ("reason", "text not null", "Why: bounced, complained, asked ..."),
            ("suppressed_at", "timestamptz not null default current_timestamp", "Since when."),
        ],
        ["primary key (user_id, channel)"],
    ),
]


def upgrade() -> None:
    connection = op.get_bind()
    for schema, description in SCHEMAS.items():
        run(connection, f"create schema if not exists {schema}")
        run(connection, f"comment on schema {schema} is {quoted(description)}")
    for table in [*QUARANTINE, *AUDIT, *PREDICTIONS, *MARKETING, *PRIVACY]:
        for statement in table.statements():
            run(connection, statement)
    run(connection, "create sequence audit.landing_ids owned by audit.landings.landing_id")
    run(
        connection,
        "create index rows_waiting on quarantine.rows (table_name) "
        "where fields is not null and released_by_batch is null",
    )
