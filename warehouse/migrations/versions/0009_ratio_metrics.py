"""Ratios of two sums beside the figures per assigned user: what a returner or a payer of an arm brought."""

from alembic import op

from warehouse.migrations.tables import quoted, run

revision = "0009"
down_revision = "0008"

METRICS = ("return", "conversion", "revenue", "conversion_per_returner", "revenue_per_returner", "revenue_per_payer")
MEANING = (
    "What is compared: return, conversion and revenue per assigned user; ratios per returner and per payer, which "
    "describe and decide nothing."
)


def upgrade() -> None:
    connection = op.get_bind()
    allowed = ", ".join(quoted(metric) for metric in METRICS)
    for statement in (
        "alter table experiments.readouts drop constraint readouts_metric_check",
        f"alter table experiments.readouts add constraint readouts_metric_check check (metric in ({allowed}))",
        f"comment on column experiments.readouts.metric is {quoted(MEANING)}",
    ):
        run(connection, statement)
