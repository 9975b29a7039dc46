"""What users looked like when a model was taught, how far today's are from that, and checks on the system's health."""

from alembic import op

from warehouse.migrations.tables import NewTable, run

revision = "0007"
down_revision = "0006"

DATE = ("as_of_date", "date not null", "Everything known strictly before this date, 00:00 UTC, was used.")
REFERENCE_DATE = ("reference_date", "date not null", "The date the response models in charge were trained for.")
SUBJECT = (
    "subject",
    "text not null check (subject in ('feature', 'prediction', 'calibration'))",
    "Whether it is about what models see, what they say, or whether it came true.",
)

TABLES = [
    NewTable(
        "predictions.drift_references",
        "One row per reference date and variable: the bins and how the inactive users of that date lay in them.",
        [
            REFERENCE_DATE,
            SUBJECT,
            ("variable", "text not null", "Feature column, or column of predictions.user_scores."),
            ("edges", "double precision[] not null", "Where bins of a number begin, but for the first; ascending."),
            ("categories", "text[] not null", "Values with a bin of their own, of a text."),
            ("counts", "bigint[] not null", "Users in each bin; the first is below all edges, or any other category."),
            ("missing", "bigint not null", "Users without a value."),
        ],
        ["primary key (reference_date, subject, variable)"],
    ),
    NewTable(
        "predictions.drift",
        "One row per as_of_date and variable: how far the inactive users of the date are from the reference.",
        [
            DATE,
            SUBJECT,
            ("variable", "text not null", "What is compared."),
            REFERENCE_DATE,
            ("model_version", "text not null", "Version in charge."),
            ("psi", "double precision", "Population stability index; empty for calibration."),
            ("ks", "double precision", "Kolmogorov-Smirnov distance at the edges of the bins; empty for texts."),
            ("calibration_error", "double precision", "Expected calibration error beyond chance; calibration only."),
            ("missing_share", "double precision", "Share of the users without a value."),
            ("reference_missing_share", "double precision", "The same of the reference."),
            ("users", "bigint not null", "Users compared."),
            ("reference_users", "bigint not null", "Users of the reference."),
            (
                "status",
                "text not null check (status in ('ok', 'warning', 'alert', 'unknown'))",
                "unknown where there are too few users to say.",
            ),
        ],
        ["primary key (as_of_date, subject, variable)"],
    ),
    NewTable(
        "audit.health_checks",
        "One row per as_of_date and check on what models see and say.",
        [
            DATE,
            ("check", "text not null", "What is checked."),
            ("status", "text not null check (status in ('ok', 'warning', 'alert', 'unknown'))", "The finding."),
            ("value", "double precision", "What was found; empty where it is unknown."),
            ("limit", "double precision", "From where on it is an alert."),
            ("checked_at", "timestamptz not null default current_timestamp", "When it was checked."),
        ],
        ['primary key (as_of_date, "check")'],
    ),
]


def upgrade() -> None:
    connection = op.get_bind()
    for table in TABLES:
        for statement in table.statements():
            run(connection, statement)
