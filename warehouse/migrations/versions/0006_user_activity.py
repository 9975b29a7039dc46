"""Who is still there: every user of a date by each definition of inactivity."""

from alembic import op

from warehouse.migrations.tables import NewTable, run

revision = "0006"
down_revision = "0005"

USER_ACTIVITY = NewTable(
    "predictions.user_activity",
    "One row per as_of_date and user, active or not: how late, how likely still there, inactive by which definition.",
    [
        ("as_of_date", "date not null", "Everything known strictly before this date, 00:00 UTC, was used."),
        ("user_id", "text not null", "Identifier of the user in the source."),
        ("p_alive", "double precision", "Chance that the user has not left for good; empty for who was never active."),
        ("usual_gap_days", "double precision", "Median pause to expect of the user, from the user's own pauses."),
        ("days_late", "double precision", "Days of silence beyond the usual pause; 0 when not late."),
        ("late_from_days", "double precision", "Silence from which on the user counts as late by the own rhythm."),
        ("is_inactive_fixed", "boolean not null", "No activity within inactive_after_days."),
        ("is_inactive_rhythm", "boolean not null", "Silent for longer than nearly all of the user's own pauses."),
        ("is_inactive_p_alive", "boolean not null", "More likely gone for good than the settings allow."),
        ("is_inactive", "boolean not null", "Inactive by the definition in the settings: scored, may be invited."),
    ],
    ["primary key (as_of_date, user_id)"],
)


def upgrade() -> None:
    connection = op.get_bind()
    for statement in USER_ACTIVITY.statements():
        run(connection, statement)
