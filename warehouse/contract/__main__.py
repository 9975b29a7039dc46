"""Write what dbt needs to know of the contract: `python -m warehouse.contract`."""

from warehouse.contract.dbt_sources import SOURCES_FILE, dbt_sources

SOURCES_FILE.parent.mkdir(parents=True, exist_ok=True)
SOURCES_FILE.write_text(dbt_sources(), encoding="utf-8")
