"""dbt's view of the raw tables, derived from the contract."""

from __future__ import annotations

from pathlib import Path

import yaml

from warehouse.contract import load_contract

__all__ = ["SOURCES_FILE", "dbt_sources"]

SOURCES_FILE = Path(__file__).resolve().parents[2] / "dbt_project" / "models" / "staging" / "_sources.yml"
HEADER = "# Generated from warehouse/contract by `python -m warehouse.contract`; change the contract, not this file.\n"
LANDING_COLUMNS = (
    {"name": "_batch_id", "description": "The landing that brought the row.", "data_type": "text"},
    {"name": "_landing_id", "description": "Number of the landing that wrote the row.", "data_type": "bigint"},
)


def dbt_sources() -> str:
    """Return the text of dbt's sources file: source `raw`, a table for each of the contract."""
    tables = [
        {
            "name": table.name,
            "description": table.description,
            "columns": [
                *(
                    {"name": column.name, "description": column.description, "data_type": column.postgres_type}
                    for column in table.columns
                ),
                *LANDING_COLUMNS,
            ],
        }
        for table in load_contract().values()
    ]
    source = {
        "name": "raw",
        "schema": "raw",
        "description": "What landed from the source and keeps the source contract.",
        "tables": tables,
    }
    return HEADER + yaml.safe_dump({"version": 2, "sources": [source]}, sort_keys=False, width=110, allow_unicode=True)
