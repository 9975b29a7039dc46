"""What friends did after a user came back, as seen when the models were trained."""

from alembic import op

from warehouse.migrations.tables import NewTable, run

revision = "0008"
down_revision = "0007"

FRIEND_RETURNS = NewTable(
    "predictions.friend_returns",
    "One row per as_of_date of a training and user with a return in the year before: what inactive friends did then.",
    [
        ("as_of_date", "date not null", "Everything known strictly before this date, 00:00 UTC, was used."),
        ("user_id", "text not null", "Identifier of the user in the source."),
        (
            "seen",
            "double precision not null",
            "Inactive friends at the user's returns; a friend whom several friends returned to counts in part.",
        ),
        ("returned", "double precision not null", "Of them those who came back within the return window."),
        ("expected", "double precision not null", "Those who would have come back anyway, from like moments."),
    ],
    ["primary key (as_of_date, user_id)"],
)


def upgrade() -> None:
    connection = op.get_bind()
    for statement in FRIEND_RETURNS.statements():
        run(connection, statement)
