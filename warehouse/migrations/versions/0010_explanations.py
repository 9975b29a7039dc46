"""Why a user's chance is what it is, beside each decision that chose the user for an event."""

from alembic import op

from warehouse.migrations.tables import quoted, run

revision = "0010"
down_revision = "0009"

COLUMNS = [
    (
        "predictions.decisions",
        "explanation",
        "What moves the user's chance to return uninvited most, in words; empty where no event was chosen, or where "
        "the chance is the same for everybody.",
    ),
    (
        "marketing.targets",
        "explanation",
        "What moves the user's chance to return uninvited most, in words; empty where it is the same for everybody.",
    ),
]
OF_SCORES = "What stands in for the model in charge, and why; empty where the model in charge scored."


def upgrade() -> None:
    connection = op.get_bind()
    for table, column, meaning in COLUMNS:
        run(connection, f"alter table {table} add column {column} text")
        run(connection, f"comment on column {table}.{column} is {quoted(meaning)}")
    run(connection, f"comment on column predictions.response_scores.explanation is {quoted(OF_SCORES)}")
