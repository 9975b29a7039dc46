"""Who runs the database server: the person at the keyboard, or as root a system user of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.errors import LocalError

__all__ = ["ServiceUser", "service_user_for"]

SYSTEM_USER = "rekindle"


@dataclass(frozen=True)
class ServiceUser:
    """A user of this machine that programs are run as; `switches` says that it is not the one we are."""

    name: str
    user_id: int
    group_id: int
    switches: bool

    def call(self, command: Sequence[str]) -> int:
        """Run a command as this user, from a folder it can enter, and return its exit code. Output goes nowhere.

        A pipe would be inherited by a server that the command leaves behind, and reading from it would hang.
        """
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            cwd="/",
            env=_plain_environment(),
            **self._identity(),
        ).returncode

    def run(self, command: Sequence[str], complaint: str) -> None:
        """Run a command that leaves nothing behind; on failure raise `complaint` with the command's last words."""
        finished = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=_plain_environment(),
            **self._identity(),
        )
        if finished.returncode != 0:
            said = (finished.stderr or finished.stdout).strip().splitlines()
            raise LocalError(f"{complaint}: {said[-1] if said else f'exit code {finished.returncode}'}")

    def give(self, path: Path) -> None:
        """Make this user the owner of a file or folder."""
        if self.switches:
            os.chown(path, self.user_id, self.group_id)

    def can_enter(self, folder: Path) -> bool:
        """Whether this user can reach the things in a folder."""
        return self.call(["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)]) == 0

    def can_run(self, program: Path) -> bool:
        """Whether this user can start a program."""
        return program.exists() and self.call([str(program), "--version"]) == 0

    def _identity(self) -> dict[str, Any]:
        if not self.switches:
            return {}
        return {"user": self.user_id, "group": self.group_id, "extra_groups": []}


def service_user_for(data_directory: Path) -> ServiceUser:
    """Return who runs the server on this data directory: its owner if root finds one, as Postgres refuses others."""
    if os.geteuid() != 0:
        me = os.geteuid()
        return ServiceUser(_name_of(me), me, os.getegid(), switches=False)
    if data_directory.exists() and data_directory.stat().st_uid != 0:
        status = data_directory.stat()
        return ServiceUser(_name_of(status.st_uid), status.st_uid, status.st_gid, switches=True)
    entry = _system_user()
    return ServiceUser(entry.pw_name, entry.pw_uid, entry.pw_gid, switches=True)


def _name_of(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError as error:
        raise LocalError(
            f"The user with the number {user_id} has no name on this machine, and Postgres needs one: "
            "add it to /etc/passwd or run as another user."
        ) from error


def _system_user() -> pwd.struct_passwd:
    known = _entry(SYSTEM_USER)
    if known is not None:
        return known
    useradd = shutil.which("useradd") or shutil.which("useradd", path="/usr/sbin:/sbin")
    if useradd is None:
        raise LocalError(
            "Postgres refuses to run as root and useradd is not on this machine: "
            f"add a system user named {SYSTEM_USER}, or run as an ordinary user."
        )
    command = [useradd, "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    # Two installations may add it at the same moment: what counts is that it is there.
    added = _entry(SYSTEM_USER)
    if added is None:
        raise LocalError(
            f"Postgres refuses to run as root and the user {SYSTEM_USER} could not be added "
            f"({finished.stderr.strip()}): add it by hand, or run as an ordinary user."
        )
    return added


def _entry(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _plain_environment() -> dict[str, str]:
    """Return an environment in which no PG* variable of the person at the keyboard changes what a program does."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
