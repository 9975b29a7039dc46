"""The data dictionary: every table that comes in and goes out, written from the contract, dbt's YAML and the catalogue.

`python -m local.dictionary` writes it again; a test keeps it in step.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from warehouse.contract import ColumnContract, TableContract, load_contract
from warehouse.door import Warehouse
from warehouse.settings import load_settings

__all__ = ["DICTIONARY", "data_dictionary"]

DICTIONARY = Path("docs") / "reference" / "data_dictionary.md"

# Schemas whose tables are made by migrations, in the order in which a reader meets them.
MIGRATED_SCHEMAS = ("marketing", "predictions", "experiments", "privacy", "delivery", "quarantine", "audit")
DBT_LAYERS = ("marts", "features", "experiments", "reporting")

CATALOGUE = """
select
    namespace.nspname as schema_name, relation.relname as table_name,
    coalesce(obj_description(relation.oid, 'pg_class'), '') as description,
    attribute.attname as column_name, format_type(attribute.atttypid, attribute.atttypmod) as data_type,
    attribute.attnotnull as is_required,
    coalesce(col_description(relation.oid, attribute.attnum), '') as column_description
from pg_class as relation
inner join pg_namespace as namespace on namespace.oid = relation.relnamespace
inner join pg_attribute as attribute on attribute.attrelid = relation.oid
where namespace.nspname = any(%(schemas)s) and relation.relkind in ('r', 'p', 'v')
    and relation.relname <> 'schema_version'
    and not relation.relispartition and attribute.attnum > 0 and not attribute.attisdropped
order by array_position(%(schemas)s, namespace.nspname::text), relation.relname, attribute.attnum
"""


def data_dictionary(warehouse: Warehouse, dbt_project: Path) -> str:
    """Return the dictionary as Markdown.

    Args:
        warehouse: a migrated warehouse, whose catalogue describes the tables that migrations make.
        dbt_project: the folder with dbt's models, whose YAML describes the rest.
    """
    parts = [
        "# Data dictionary\n\n"
        "Written by `python -m local.dictionary` from the source contract (`warehouse/contract/`), the comments of the "
        "migrated tables and dbt's YAML. Do not edit it by hand.\n\n"
        "- [What comes in](#what-comes-in): the source contract.\n"
        "- [What goes out](#what-goes-out): tables for marketing, BI and tools.\n"
        "- [What dbt builds](#what-dbt-builds): marts, features, labels, reports.\n",
        "## What comes in\n\n"
        "One file a table, `<table>.parquet` or `<table>.csv` (UTF-8, with header). Timestamps are UTC unless they "
        "carry an offset; ids are text. `*` marks the key; a column with `?` may be empty or absent.\n",
        *(_contract_section(table) for table in load_contract().values()),
        "## What goes out\n\nTables made by migrations. Columns may be added, never renamed.\n",
        *_catalogue_sections(warehouse),
        "## What dbt builds\n",
        *(_dbt_section(layer, file) for layer in DBT_LAYERS for file in _yaml_files(dbt_project / "models" / layer)),
    ]
    return "\n".join(part for part in parts if part)


def _contract_section(table: TableContract) -> str:
    rows = [
        (
            f"`{column.name}`" + ("*" if column.name in table.key else "") + ("?" if column.nullable else ""),
            column.type,
            column.description,
            _rule(column),
        )
        for column in table.columns
    ]
    need = "Required." if table.required else f"Optional. {table.without}".strip()
    return f"### {table.name}\n\n{table.description} {need}\n\n" + _table(("column", "type", "meaning", "rule"), rows)


def _rule(column: ColumnContract) -> str:
    rules = [
        ", ".join(column.allowed),
        column.wanted or "",
        f">= {column.minimum}" if column.minimum is not None else "",
        f"<= {column.maximum}" if column.maximum is not None else "",
        f"> {column.above}" if column.above is not None else "",
        f"< {column.below}" if column.below is not None else "",
        f"after {column.after}" if column.after else "",
        f"found in {column.references}" if column.references else "",
    ]
    return "; ".join(rule for rule in rules if rule)


def _catalogue_sections(warehouse: Warehouse) -> list[str]:
    columns = warehouse.read_frame(CATALOGUE, {"schemas": list(MIGRATED_SCHEMAS)})
    sections = []
    for (schema, name), rows in columns.groupby(["schema_name", "table_name"], sort=False):
        description = rows["description"].fillna("").iloc[0]
        told = [
            (f"`{row.column_name}`" + ("" if row.is_required else "?"), row.data_type, row.column_description)
            for row in rows.fillna("").itertuples()
        ]
        sections.append(f"### {schema}.{name}\n\n{description}\n\n" + _table(("column", "type", "meaning"), told))
    return sections


def _yaml_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.yml"), key=lambda file: file.name)


def _dbt_section(layer: str, file: Path) -> str:
    content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    sections = []
    for model in content.get("models", []):
        rows = [
            (f"`{column['name']}`", column.get("data_type", ""), column.get("description", ""))
            for column in model.get("columns", [])
        ]
        name = (model.get("config") or {}).get("alias", model["name"])
        sections.append(
            f"### {layer}.{name}\n\n{model.get('description', '').strip()}\n\n"
            + _table(("column", "type", "meaning"), rows)
        )
    return "\n".join(sections)


def _table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    lines: list[Sequence[object]] = [header, ["---"] * len(header), *rows]
    cells = (" | ".join(" ".join(str(cell).replace("|", "\\|").split()) for cell in line) for line in lines)
    return "\n".join(f"| {line} |" for line in cells) + "\n"


def main() -> None:
    """Write the dictionary from the current warehouse."""
    settings = load_settings()
    text = data_dictionary(Warehouse(settings.warehouse_url), settings.project_folder / "dbt_project")
    (settings.project_folder / DICTIONARY).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
