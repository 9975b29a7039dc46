"""Pictures with their data, an example for each segment, and where a user stands among the others."""

from alembic import op

from warehouse.migrations.tables import NewTable, quoted, run

revision = "0004"
down_revision = "0003"

PICTURES = NewTable(
    "predictions.pictures",
    "One row per as_of_date and picture, with the data on it, so that a dashboard can draw it again.",
    [
        ("as_of_date", "date not null", "Everything known strictly before this date, 00:00 UTC, was used."),
        ("picture", "text not null", "Name of the picture."),
        ("picture_group", "text not null", "The stage that drew it."),
        ("title", "text not null", "What it shows."),
        ("data", "jsonb not null", "What is drawn: an object with a list of equal length for each variable."),
        ("file", "text not null", "The PNG, below the state folder of the machine that drew it."),
    ],
    ["primary key (as_of_date, picture)"],
)
EXAMPLE = "What a user from the middle of the segment did, in words."
COLUMNS = [
    ("predictions.segments", "example", "text", EXAMPLE),
    ("marketing.segment_profiles", "example", "text", EXAMPLE),
    (
        "marketing.top_users",
        "percentile",
        "double precision",
        "Share of all ranked users whose value score is not above this user's, 0 to 100.",
    ),
    (
        "marketing.top_users",
        "percentile_in_segment",
        "double precision",
        "Share of the users of the same segment whose value score is not above this user's, 0 to 100.",
    ),
]


def upgrade() -> None:
    connection = op.get_bind()
    for statement in PICTURES.statements():
        run(connection, statement)
    for table, column, kind, meaning in COLUMNS:
        run(connection, f"alter table {table} add column {column} {kind}")
        run(connection, f"comment on column {table}.{column} is {quoted(meaning)}")
