"""Make the environment `.venv` from the lock file. Standard library only: nothing is installed when this runs.

It makes `.venv`, installs the one pinned uv with pip (hashes checked), and lets uv bring `.venv` to exactly what
requirements.txt says. A second call sees that the lock file has not changed and returns at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
LOCK_FILE = PROJECT / "requirements.txt"
ENVIRONMENT = PROJECT / ".venv"
# uv reads its own names for what people have already told pip.
PIP_TO_UV = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS"}


class BootstrapError(RuntimeError):
    """The environment cannot be made; the message is one sentence that says what to do."""


def main() -> int:
    """Bring `.venv` up to date; return the exit code."""
    try:
        _check_interpreter()
        with LOCK_FILE.open() as lock:
            # Two terminals at once: the second waits, then finds the work done.
            fcntl.flock(lock, fcntl.LOCK_EX)
            _bring_up_to_date()
    except BootstrapError as error:
        print(f"\nrekindle: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nrekindle: interrupted while installing; the same command goes on from here.", file=sys.stderr)
        return 130
    return 0


def _check_interpreter() -> None:
    if sys.version_info[:2] != (3, 11):
        found = ".".join(str(part) for part in sys.version_info[:2])
        raise BootstrapError(
            f"Python 3.11 is needed and this is {found}: install it (Debian: apt install python3.11 python3.11-venv) "
            "or name it with `make PYTHON=/path/to/python3.11 ...`."
        )


def _bring_up_to_date() -> None:
    wanted = _fingerprint()
    marker = ENVIRONMENT / "rekindle-lock.sha256"
    if _is_usable() and marker.exists() and marker.read_text() == wanted:
        return
    if not os.access(PROJECT if not ENVIRONMENT.exists() else ENVIRONMENT, os.W_OK):
        raise BootstrapError(
            f"{PROJECT} cannot be written by you: give it to yourself with chown, or clone the repository anew."
        )
    started = time.monotonic()
    print("rekindle: making the environment from requirements.txt", flush=True)
    if not _is_usable():
        _make_environment()
    _install_uv()
    _synchronise()
    marker.write_text(wanted)
    print(f"rekindle: environment ready after {time.monotonic() - started:.1f} s", flush=True)


def _fingerprint() -> str:
    return hashlib.sha256(LOCK_FILE.read_bytes() + sys.version.encode()).hexdigest()


def _python() -> str:
    return str(ENVIRONMENT / "bin" / "python")


def _is_usable() -> bool:
    """Whether the interpreter in `.venv` runs: a moved clone or a removed Python leaves one that does not."""
    try:
        check = subprocess.run(
            [_python(), "-c", "import pip"], capture_output=True, check=False, stdin=subprocess.DEVNULL
        )
    except OSError:
        return False
    return check.returncode == 0


def _make_environment() -> None:
    try:
        import ensurepip  # noqa: F401 - Debian ships Python without it
        import venv  # noqa: F401
    except ImportError as error:
        raise BootstrapError(
            "This Python has no venv module: install it (Debian: apt install python3.11-venv) "
            "or name another with `make PYTHON=/path/to/python3.11 ...`."
        ) from error
    if ENVIRONMENT.exists():
        try:
            shutil.rmtree(ENVIRONMENT)
        except OSError as error:
            raise BootstrapError(f"{ENVIRONMENT} is broken and cannot be removed ({error}): remove it.") from error
    _run([sys.executable, "-m", "venv", str(ENVIRONMENT)], "the virtual environment could not be made")


def _install_uv() -> None:
    pinned = re.search(r"^uv==.*?(?=^\S|\Z)", LOCK_FILE.read_text(), re.MULTILINE | re.DOTALL)
    if pinned is None:
        raise BootstrapError("requirements.txt does not pin uv: bring requirements.txt back with git.")
    version = pinned.group().split("==")[1].split()[0]
    if (ENVIRONMENT / "bin" / "uv").exists() and _said_version() == version:
        return
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "uv.txt"
        requirements.write_text(pinned.group())
        command = [_python(), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        command += ["--retries", "2", "--timeout", "30", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
        _run([*command, "-r", str(requirements)], "uv could not be installed")


def _said_version() -> str:
    said = subprocess.run([str(ENVIRONMENT / "bin" / "uv"), "--version"], capture_output=True, text=True, check=False)
    words = said.stdout.split()
    return words[1] if len(words) > 1 else ""


def _synchronise() -> None:
    command = [str(ENVIRONMENT / "bin" / "uv"), "pip", "sync", "--python", _python(), "--require-hashes"]
    command += ["--only-binary", ":all:"] + ([] if sys.stderr.isatty() else ["--quiet"])
    _run([*command, str(LOCK_FILE)], "the packages could not be installed", extra=_settings_of_pip())
    # uv leaves pip out of what it keeps in step; people expect it in an environment.
    if not _is_usable():
        _run([_python(), "-m", "ensurepip", "--default-pip"], "pip could not be put back")


def _settings_of_pip() -> dict[str, str]:
    """Return where pip was told to look for packages, in the names that uv reads; uv's own settings win."""
    settings = {}
    for name, uv_name in PIP_TO_UV.items():
        value = os.environ.get(f"PIP_{name.upper().replace('-', '_')}")
        if value and uv_name not in os.environ:
            settings[uv_name] = value
    if os.environ.get("PIP_CERT") and "SSL_CERT_FILE" not in os.environ:
        settings["SSL_CERT_FILE"] = os.environ["PIP_CERT"]
    return settings


def _run(command: list[str], complaint: str, extra: dict[str, str] | None = None) -> None:
    try:
        finished = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, stdout=sys.stderr, env={**os.environ, **(extra or {})}
        )
    except OSError as error:
        raise BootstrapError(f"{complaint} ({error}).") from error
    if finished.returncode != 0:
        raise BootstrapError(
            f"{complaint}, the reason stands above: check that this machine reaches a Python package index "
            "(behind a proxy set HTTPS_PROXY, for a mirror PIP_INDEX_URL) and type the same command again."
        )


if __name__ == "__main__":
    sys.exit(main())
