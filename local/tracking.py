"""Brings the database of MLflow up to date: `python -m local.tracking`, in a process of its own as it imports a lot."""

from __future__ import annotations

import logging

from warehouse.settings import load_settings


def main() -> None:
    """Create or upgrade the tables that MLflow keeps runs and versions in."""
    from mlflow.store.db import utils

    logging.getLogger("alembic").setLevel(logging.WARNING)
    engine = utils.create_sqlalchemy_engine_with_retry(load_settings().tracking_uri)
    utils._safe_initialize_tables(engine)
    utils._upgrade_db(engine)


if __name__ == "__main__":
    main()
