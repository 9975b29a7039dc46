"""In what order versions were put in charge, what they were trained with, and what MLflow shows of them."""

from alembic import op

from warehouse.migrations.tables import quoted, run

revision = "0013"
down_revision = "0012"

COLUMNS = [
    (
        "promotion_number",
        "bigint",
        "Counts promotions of the model, the last one highest; empty where it never was in charge.",
    ),
    ("parameters", "jsonb not null default '{}'", "What it was trained with."),
    ("mlflow_status", "text", "The status that MLflow shows; empty until it shows the version."),
]


def upgrade() -> None:
    connection = op.get_bind()
    for name, kind, meaning in COLUMNS:
        run(connection, f"alter table predictions.model_versions add column {name} {kind}")
        run(connection, f"comment on column predictions.model_versions.{name} is {quoted(meaning)}")
    # Promotions from before are numbered as they were read until now: by date, of one date the one in charge last.
    run(
        connection,
        "update predictions.model_versions as versions set promotion_number = numbered.promotion_number from ("
        " select model_name, version, row_number() over ("
        "  partition by model_name order by as_of_date, status = 'champion', version) as promotion_number"
        " from predictions.model_versions where status in ('champion', 'retired')) as numbered"
        " where versions.model_name = numbered.model_name and versions.version = numbered.version",
    )
    run(connection, "update predictions.model_versions set mlflow_status = status where run_id is not null")
    # Two trainings that ended at once could leave two in charge: the last promotion stays.
    run(
        connection,
        "update predictions.model_versions as versions set status = 'retired' where status = 'champion' and exists ("
        " select from predictions.model_versions as later where later.model_name = versions.model_name"
        " and later.status = 'champion' and later.promotion_number > versions.promotion_number)",
    )
    run(
        connection,
        "create unique index model_versions_one_champion on predictions.model_versions (model_name)"
        " where status = 'champion'",
    )
