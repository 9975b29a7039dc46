"""Which files of a folder are the source, and what their content is called."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from warehouse.contract import FOLDER as CONTRACT_FOLDER
from warehouse.contract import TableContract
from warehouse.landing.reports import LandingError

__all__ = ["SourceTable", "batch_id_of", "find_tables"]

FORMATS = ("parquet", "csv")
READ_BYTES = 1 << 22


@dataclass(frozen=True)
class SourceTable:
    """The files of one table: one, or the parts of a folder of that name in the order of their names."""

    contract: TableContract
    format: str
    files: tuple[Path, ...]


def find_tables(folder: Path, contract: Mapping[str, TableContract]) -> tuple[list[SourceTable], list[str]]:
    """Find the files of each table of the contract.

    Returns:
        The tables that are there, in the order of the contract, and warnings about what is missing or unknown.

    Raises:
        LandingError: the folder cannot be read, a required table is missing, or a table is there twice.
    """
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise LandingError(
            f"The data folder {folder} cannot be read ({error.strerror}): check DATA=<folder> and its permissions."
        ) from error
    tables, warnings = [], []
    for table in contract.values():
        named = [entry for entry in entries if _table_name(entry) == table.name]
        if len(named) > 1:
            raise LandingError(
                f"{folder} holds {table.name} twice ({' and '.join(entry.name for entry in named)}): keep one of them."
            )
        if named:
            tables.append(_source_table(table, named[0]))
        elif table.required:
            raise LandingError(
                f"{folder} has no {table.name}.csv or {table.name}.parquet: this table is required, add it."
            )
        else:
            warnings.append(f"There is no table {table.name}: {table.without}.")
    unknown = [entry for entry in entries if _table_name(entry) not in {*contract, ""}]
    warnings += [f"{entry.name} is no table of the source contract and was ignored." for entry in unknown]
    return tables, warnings


def batch_id_of(tables: list[SourceTable]) -> str:
    """Return a name for the content of all files and of the contract: the same rows, the same id, whatever the clock.

    Raises:
        LandingError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for file in sorted(CONTRACT_FOLDER.glob("*.yml")):
        digest.update(file.read_bytes())
    files = [(table.contract.name, file) for table in tables for file in table.files]
    with ThreadPoolExecutor(2) as pool:  # hashing releases the interpreter's lock
        for (name, _), content in zip(files, pool.map(_digest, [file for _, file in files]), strict=True):
            digest.update(f"{name} {content}\n".encode())
    return digest.hexdigest()[:16]


def _table_name(entry: Path) -> str:
    """Name of the table an entry seems to hold; empty where it is no data at all."""
    if entry.is_dir():
        is_data = entry.suffix == ".parquet" or any(_suffix(part) in FORMATS for part in entry.iterdir())
        return entry.stem if is_data else ""
    return entry.stem if _suffix(entry) in FORMATS else ""


def _suffix(file: Path) -> str:
    return file.suffix.lower().lstrip(".")


def _source_table(table: TableContract, entry: Path) -> SourceTable:
    if not entry.is_dir():
        return SourceTable(table, _suffix(entry), (entry,))
    parts = tuple(sorted(part for part in entry.rglob("*") if _suffix(part) in FORMATS and part.is_file()))
    formats = sorted({_suffix(part) for part in parts})
    if len(formats) != 1:
        found = " and ".join(formats) or "no data files"
        raise LandingError(f"{entry} holds {found}: its parts must be either all Parquet or all CSV.")
    return SourceTable(table, formats[0], parts)


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    try:
        with file.open("rb") as stream:
            while block := stream.read(READ_BYTES):
                digest.update(block)
    except OSError as error:
        raise LandingError(f"{file} cannot be read ({error.strerror}): check its permissions.") from error
    return digest.hexdigest()
