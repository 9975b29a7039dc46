"""What Alembic runs: one transaction on the connection that `migrate` hands over."""

from alembic import context
from sqlalchemy import text

connection = context.config.attributes["connection"]
connection.execute(text("create schema if not exists audit"))
connection.commit()
context.configure(connection=connection, version_table="schema_version", version_table_schema="audit")
with context.begin_transaction():
    context.run_migrations()
