"""Small files: secrets that only their owner reads, values that are there as a whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["generated_secret", "is_marked", "write_private", "write_whole"]


def write_whole(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write `text` so that a reader (or a crash) never sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)


def write_private(path: Path, text: str) -> None:
    """Write `text` to a file that only its owner can read, from its first byte on."""
    write_whole(path, f"{text}\n", mode=0o600)


def is_marked(marker: Path, version: str) -> bool:
    """Whether `marker` says that something was done for `version`."""
    return marker.exists() and marker.read_text() == version


def generated_secret(path: Path, *, length: int = 32) -> str:
    """Return the secret kept in `path`; the first call makes it from `length` random bytes."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, secrets.token_urlsafe(length))
    return path.read_text().strip()
