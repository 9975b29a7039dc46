"""Keeps a handful of long-running programs: started once, found again, stopped together with all they started.

A program and everything below it carry a variable of ours in their environment. That is how they are recognised:
not by name, and not by a number alone, which another program may have by now.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import psutil

from local.errors import LocalError
from local.files import write_whole

__all__ = ["Component", "ComponentStatus", "Supervisor"]

MARK = "REKINDLE_COMPONENT"
STOP_TIMEOUT_SECONDS = 5
LARGEST_LOG_BYTES = 20_000_000
CLOCK_TOLERANCE_SECONDS = 5.0


@dataclass(frozen=True)
class Component:
    """A long-running program.

    `inherited` is the environment it gets beside `variables`; only a change of `variables`, `command` or `version`
    makes a running program be replaced.
    """

    name: str
    command: Sequence[str]
    variables: Mapping[str, str]
    inherited: Mapping[str, str]
    version: str = ""

    @property
    def fingerprint(self) -> str:
        """What it was started with, as a hash: the variables hold secrets."""
        described = json.dumps([list(self.command), sorted(self.variables.items()), self.version])
        return hashlib.sha256(described.encode()).hexdigest()


@dataclass(frozen=True)
class ComponentStatus:
    """What is known of a component: `process_id` and `started_at` are None unless it is up."""

    name: str
    log: Path
    process_id: int | None
    started_at: datetime | None


class Supervisor:
    """Starts and stops components; what it knows of them lies in `folder`, their output in `logs`."""

    def __init__(self, folder: Path, logs: Path) -> None:
        self.folder = folder.resolve()
        self.logs = logs.resolve()

    def ensure(self, component: Component) -> bool:
        """Start a component unless it is up with the same command; return whether it was started."""
        running = self._leader(component.name)
        if running is not None and self._kept(component.name).get("fingerprint") == component.fingerprint:
            return False
        self.stop([component.name])
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._open_log(component.name) as log:
            process = subprocess.Popen(
                component.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.folder,
                env={
                    **component.inherited,
                    **component.variables,
                    MARK: self._mark(component.name),
                    # Programs that change their title would write over the mark.
                    "SPT_NOENV": "1",
                },
            )
        with contextlib.suppress(psutil.NoSuchProcess):
            kept = {
                "process_id": process.pid,
                "created": psutil.Process(process.pid).create_time(),
                "fingerprint": component.fingerprint,
            }
            write_whole(self._file(component.name), json.dumps(kept))
        return True

    def stop(self, names: Iterable[str] | None = None) -> list[str]:
        """Stop components (all that are known) with everything they started; return the names of those that ran."""
        wanted = {self._mark(name): name for name in (self.known() if names is None else names)}
        stopped = sorted({wanted[mark] for mark, _ in self._marked(wanted)})
        for name in wanted.values():
            leader = self._leader(name)
            if leader is not None:
                with contextlib.suppress(psutil.NoSuchProcess):
                    leader.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        while any(self._leader(name) is not None for name in wanted.values()) and time.monotonic() < deadline:
            time.sleep(0.1)
        # What is left has lost its leader or does not listen. New ones may appear while we look: look again.
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        while left := [process for _, process in self._marked(wanted)]:
            if time.monotonic() > deadline:
                numbers = ", ".join(str(process.pid) for process in left)
                raise LocalError(f"Processes {numbers} do not stop: end them with kill -9, then retry.")
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(0.1)
        for name in wanted.values():
            self._file(name).unlink(missing_ok=True)
        return stopped

    def known(self) -> list[str]:
        """Return the names of the components that were started and not stopped."""
        return sorted(file.stem for file in self.folder.glob("*.json"))

    def status(self, name: str) -> ComponentStatus:
        """Tell whether a component is up."""
        leader = self._leader(name)
        if leader is None:
            return ComponentStatus(name, self.log(name), None, None)
        return ComponentStatus(name, self.log(name), leader.pid, datetime.fromtimestamp(leader.create_time(), tz=UTC))

    def log(self, name: str) -> Path:
        """Return the file with what a component said."""
        return self.logs / f"{name}.log"

    def processes(self) -> list[psutil.Process]:
        """Return every live process of every known component."""
        return [process for _, process in self._marked({self._mark(name): name for name in self.known()})]

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _mark(self, name: str) -> str:
        return str(self._file(name))

    def _kept(self, name: str) -> dict[str, object]:
        try:
            kept: dict[str, object] = json.loads(self._file(name).read_text())
            return kept
        except (FileNotFoundError, ValueError):
            return {}

    def _leader(self, name: str) -> psutil.Process | None:
        kept = self._kept(name)
        try:
            process = psutil.Process(int(str(kept["process_id"])))
            # The machine's clock may have been set meanwhile, which moves the time a process seems to have started.
            is_same = abs(process.create_time() - float(str(kept["created"]))) < CLOCK_TOLERANCE_SECONDS
            is_ours = is_same and process.status() != psutil.STATUS_ZOMBIE
        except (KeyError, ValueError, psutil.Error):
            return None
        return process if is_ours else None

    def _marked(self, marks: Mapping[str, str]) -> Iterator[tuple[str, psutil.Process]]:
        for process in psutil.process_iter():
            # Processes of others cannot be read, and those that end while we look are no longer of interest.
            with contextlib.suppress(psutil.Error, OSError):
                mark = process.environ().get(MARK)
                if mark in marks and process.status() != psutil.STATUS_ZOMBIE:
                    yield mark, process

    @contextlib.contextmanager
    def _open_log(self, name: str) -> Iterator[BinaryIO]:
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.log(name)
        if log.exists() and log.stat().st_size > LARGEST_LOG_BYTES:
            log.replace(log.with_suffix(".log.old"))
        with log.open("ab") as file:
            yield file
