"""Sample data in the source contract: one package a sample, found by its folder's name.

A sample offers `DESCRIPTION`, `DEFAULT_AS_OF`, `version(**options) -> str` (what the written bytes depend on) and
`write_source(folder, **options)`. A new sample is a new package here; nothing else changes.
"""

import importlib
import pkgutil
import shutil
import tempfile
from datetime import date
from pathlib import Path
from typing import Any, Protocol, cast

from warehouse.settings import Settings

__all__ = ["Sample", "find_sample", "prepare_sample", "prepare_source", "sample_names"]

_VERSION_FILE = ".sample_version"


class Sample(Protocol):
    """What a package below `local.samples` offers."""

    DESCRIPTION: str
    DEFAULT_AS_OF: date

    def version(self, **options: Any) -> str:
        """Name what the written bytes depend on."""

    def write_source(self, folder: Path, **options: Any) -> None:
        """Write the source contract as files into `folder`."""


def sample_names() -> tuple[str, ...]:
    """List the samples that `make run DATA=<name>` knows, by name."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg))


def find_sample(name: str) -> Sample:
    """Load the sample called `name`.

    Raises:
        ValueError: when there is no such sample.
    """
    if name not in sample_names():
        raise ValueError(f"There is no sample {name!r}: use one of {', '.join(sample_names())}, or a folder.")
    return cast(Sample, importlib.import_module(f"{__name__}.{name}"))


def prepare_sample(name: str, samples_folder: Path, **options: Any) -> Path:
    """Return a folder below `samples_folder` with the sample's files, writing them only when they are not current.

    The folder appears as a whole or not at all: it is written under another name first and then renamed.

    Args:
        name: one of `sample_names()`.
        samples_folder: where samples are kept, usually `<state>/samples`.
        options: passed on to the sample's `write_source`.

    Raises:
        ValueError: when there is no such sample.
    """
    sample = find_sample(name)
    folder = samples_folder / name
    version = sample.version(**options)
    version_file = folder / _VERSION_FILE
    if version_file.is_file() and version_file.read_text(encoding="utf-8") == version:
        return folder
    samples_folder.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=samples_folder))
    try:
        partial.chmod(0o755)
        written = partial / "written"
        sample.write_source(written, **options)
        (written / _VERSION_FILE).write_text(version, encoding="utf-8")
        if folder.exists():
            folder.rename(partial / "replaced")
        written.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def prepare_source(settings: Settings) -> Path | None:
    """Return the folder that is to be landed, writing the sample's files first where the source is a sample.

    None stands for a schema, which landing reads by itself.

    Raises:
        ValueError: when the source is neither a sample nor a folder nor a schema.
    """
    if settings.source_schema is not None:
        return None
    if settings.source in sample_names():
        return prepare_sample(settings.source, settings.source_folder.parent)
    if not settings.source_folder.is_dir():
        raise ValueError(
            f"There is no data folder {settings.source_folder}: give DATA=<folder> or one of the samples "
            f"{', '.join(sample_names())}."
        )
    return settings.source_folder
