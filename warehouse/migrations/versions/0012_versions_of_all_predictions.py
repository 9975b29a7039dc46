"""Which version of the models segments, activity and effects rest on."""

from alembic import op

from warehouse.migrations.tables import quoted, run

revision = "0012"
down_revision = "0011"

# Rows from before this column say nothing, and none of them is written again for it.
COLUMNS = [
    ("predictions.segments", "Version of the models, from their content."),
    (
        "predictions.user_activity",
        "Version of the models that judged; empty between the training of a version and the scoring that follows.",
    ),
    (
        "predictions.event_effects",
        "Version of the models whose segments the users were in. Effects are measured, not predicted: nothing else in "
        "the row rests on it. Empty where users were not split by segment.",
    ),
]


def upgrade() -> None:
    connection = op.get_bind()
    for table, meaning in COLUMNS:
        run(connection, f"alter table {table} add column model_version text")
        run(connection, f"comment on column {table}.model_version is {quoted(meaning)}")
