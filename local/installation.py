"""What one installation consists of and where its parts lie; starts and stops them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from local.airflow import ADMINISTRATOR, COMPONENTS, AirflowHome
from local.airflow_client import AirflowClient, wait_until
from local.errors import LocalError
from local.files import is_marked, write_private, write_whole
from local.ports import choose_port
from local.postgres import EmbeddedPostgres
from local.supervisor import Component, Supervisor
from warehouse.settings import find_source_schema

__all__ = ["Installation"]

DEFAULT_SAMPLE = "complete_journey"
AIRFLOW_PORT = 8080
READY_TIMEOUT_SECONDS = 180
TAKE_OVER_SECONDS = 10.0
# Marks a state folder that holds nothing but what we put there.
MADE_BY_US = "made-by-rekindle"
# What Airflow calls its components when asked for its health; an API server that answers knows its database.
HEALTH_NAMES = {
    "api-server": "metadatabase",
    "scheduler": "scheduler",
    "dag-processor": "dag_processor",
    "triggerer": "triggerer",
}
# Set by a person for one command; a process that lives on must follow the files of the state folder instead.
NOT_INHERITED = ("WAREHOUSE_URL", "REKINDLE_SOURCE", "REKINDLE_STATE", "MLFLOW_TRACKING_URI", "PYTHONHOME")


class BusyError(LocalError):
    """Another command works on the same state folder."""

    def __init__(self, state: Path, process_id: int) -> None:
        super().__init__(
            f"Another command works on {state} (process {process_id}): wait until it has ended, "
            "end it with `make stop`, or set REKINDLE_STATE to another folder."
        )
        self.process_id = process_id


@dataclass(frozen=True)
class Installation:
    """One state folder and everything that runs for it."""

    project: Path
    state: Path

    @property
    def postgres(self) -> EmbeddedPostgres:
        """The embedded server: Airflow's and MLflow's databases, and the warehouses."""
        return EmbeddedPostgres(self.state / "postgres")

    @property
    def supervisor(self) -> Supervisor:
        """Whatever runs beside the database server."""
        return Supervisor(self.state / "processes", self.state / "logs")

    @property
    def airflow(self) -> AirflowHome:
        """Airflow's home folder and configuration."""
        folder = self.state / "airflow"
        port_file = folder / "port"
        port = int(port_file.read_text()) if port_file.exists() else AIRFLOW_PORT
        return AirflowHome(
            folder=folder,
            dags_folder=self.project / "dags",
            database_url=self.postgres.url("airflow"),
            port=port,
        )

    @property
    def client(self) -> AirflowClient:
        """A client of this installation's Airflow."""
        airflow = self.airflow
        return AirflowClient(airflow.address, ADMINISTRATOR, airflow.password)

    @contextlib.contextmanager
    def exclusively(self) -> Iterator[None]:
        """Be the only one that starts or stops things here.

        Raises:
            LocalError: another command is at it.
        """
        self._make_state_folder()
        with (self.state / "run.lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                lock.seek(0)
                raise BusyError(self.state, int(lock.read().strip() or 0)) from error
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    @contextlib.contextmanager
    def taking_over(self) -> Iterator[None]:
        """Be the only one that starts or stops things here, after ending the command that is at it now."""
        self._make_state_folder()
        deadline = time.monotonic() + TAKE_OVER_SECONDS
        while True:
            try:
                with self.exclusively():
                    yield
                return
            except BusyError as busy:
                # It is safe to end it anywhere: the next command goes on from there.
                is_over = time.monotonic() > deadline
                self._end_holder(busy.process_id, signal.SIGKILL if is_over else signal.SIGINT)
                time.sleep(0.5)

    def start_postgres(self) -> None:
        """Start the database server with the two databases that it always holds."""
        self.postgres.start()
        for name in ("airflow", "mlflow"):
            self.postgres.ensure_database(name)
        # With the driver that MLflow is to use.
        url = self.postgres.url("mlflow").replace("postgresql://", "postgresql+psycopg2://", 1)
        _write_if_changed(self.state / "mlflow.url", url)

    def choose_source(self, source: str, warehouse_url: str) -> None:
        """Say what is to be landed and where: processes that run already follow with their next task.

        `source` is the name of a sample, the path of a folder or a schema; `warehouse_url` is empty for a database
        of its own on the embedded server.
        """
        if not warehouse_url:
            schema = find_source_schema(source, warehouse_url)
            # A new password must not mean a new warehouse.
            database = warehouse_database(source if schema is None else schema.title)
            self.postgres.ensure_database(database)
            warehouse_url = self.postgres.url(database)
        _write_if_changed(self.state / "warehouse.url", warehouse_url)
        _write_if_changed(self.state / "source", source)

    def migrate_airflow(self) -> None:
        """Bring Airflow's own database up to date."""
        airflow = self.airflow
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        self._once(
            *self._airflow_migration(),
            lambda: self._run(command, {**self._inherited(), **airflow.variables()}, "airflow-migrate"),
        )

    def _airflow_migration(self) -> tuple[Path, str]:
        """Return the file that says which migration Airflow's database has, and the one that it must have."""
        version = f"{importlib.metadata.version('apache-airflow-core')} {_creation(self.postgres, 'airflow')}"
        return self.airflow.folder / "migrated", version

    def migrate_tracking(self) -> None:
        """Bring MLflow's database up to date."""
        command = [sys.executable, "-m", "local.tracking"]
        self._once(
            self.state / "mlflow.migrated",
            f"{importlib.metadata.version('mlflow')} {_creation(self.postgres, 'mlflow')}",
            lambda: self._run(command, {**self._inherited(), **self._variables()}, "mlflow-migrate"),
        )

    def ensure_airflow(self, names: Collection[str] = tuple(COMPONENTS)) -> list[str]:
        """Start each of these components of Airflow that is not up as it should be; return their names."""
        supervisor = self.supervisor
        if supervisor.status("api-server").process_id is None:
            port_file = self.state / "airflow" / "port"
            port = choose_port(self.airflow.port)
            _write_if_changed(port_file, str(port))
        self.airflow.prepare()
        wanted = [component for component in self.components() if component.name in names]
        return [component.name for component in wanted if supervisor.ensure(component)]

    def components(self) -> list[Component]:
        """Return the long-running programs as they should be now."""
        airflow = self.airflow
        marker, migration = self._airflow_migration()
        version = hashlib.sha256((self.project / "requirements.txt").read_bytes()).hexdigest()
        return [
            Component(
                name=name,
                command=[sys.executable, "-m", "local.component", "--when", str(marker), migration, name, *arguments],
                variables={**airflow.variables(), **self._variables()},
                inherited=self._inherited(),
                version=version,
            )
            for name, arguments in COMPONENTS.items()
        ]

    def wait_for_airflow(self, names: Collection[str] = tuple(COMPONENTS)) -> None:
        """Wait until each of these components of Airflow says that it is healthy.

        Raises:
            LocalError: one ended or took too long; the message names its log.
        """
        client, supervisor = self.client, self.supervisor

        def unhealthy() -> list[str]:
            health = client.health()
            return [name for name in names if health.get(HEALTH_NAMES[name]) != "healthy"]

        def is_settled() -> bool:
            dead = [name for name in names if supervisor.status(name).process_id is None]
            if dead:
                raise LocalError(f"Airflow's {dead[0]} ended while it started: see {supervisor.log(dead[0])}.")
            return not unhealthy()

        if not wait_until(is_settled, READY_TIMEOUT_SECONDS):
            ill = ", ".join(unhealthy())
            raise LocalError(
                f"Airflow is not ready after {READY_TIMEOUT_SECONDS} s ({ill}): the logs are in {supervisor.logs}."
            )

    def stop(self) -> list[str]:
        """Stop everything; return the names of what was up."""
        stopped = self.supervisor.stop()
        if self.postgres.process_id() is not None:
            self.postgres.stop()
            stopped.append("postgres")
        return stopped

    def remove(self) -> None:
        """Stop everything and delete the state folder."""
        self.stop()
        self.postgres.remove()
        if (self.state / MADE_BY_US).exists():
            shutil.rmtree(self.state, ignore_errors=True)
            return
        # The folder was there before us, and a person may keep other things in it.
        for name in ("airflow", "processes", "logs", "samples", "models", "dbt"):
            shutil.rmtree(self.state / name, ignore_errors=True)
        for name in ("warehouse.url", "mlflow.url", "mlflow.migrated", "source", "run.lock"):
            (self.state / name).unlink(missing_ok=True)

    def _end_holder(self, process_id: int, how: signal.Signals) -> None:
        """Signal the process that is said to hold the lock, if it has the file open: numbers are used again."""
        lock = str((self.state / "run.lock").resolve())
        with contextlib.suppress(psutil.Error, ValueError):
            process = psutil.Process(process_id)
            if process_id > 0 and any(file.path == lock for file in process.open_files()):
                process.send_signal(how)

    def _make_state_folder(self) -> None:
        try:
            self.state.mkdir(parents=True, exist_ok=True)
            if not any(self.state.iterdir()):
                (self.state / MADE_BY_US).touch()
            (self.state / "logs").mkdir(exist_ok=True)
        except OSError as error:
            raise LocalError(
                f"The state folder {self.state} cannot be made ({error.strerror}): "
                "set REKINDLE_STATE to a folder of your own."
            ) from error
        if not os.access(self.state, os.W_OK):
            raise LocalError(
                f"The state folder {self.state} belongs to somebody else: set REKINDLE_STATE to one of your own."
            )

    def _variables(self) -> dict[str, str]:
        return {"REKINDLE_STATE": str(self.state), "PYTHONPATH": str(self.project)}

    def _inherited(self) -> dict[str, str]:
        return {
            name: value
            for name, value in os.environ.items()
            if name not in NOT_INHERITED and not name.startswith(("AIRFLOW_", "REKINDLE_"))
        }

    def _once(self, marker: Path, version: str, action: Callable[[], None]) -> None:
        """Do `action` unless `marker` says that it was done for this version."""
        if is_marked(marker, version):
            return
        action()
        write_whole(marker, version)

    def _run(self, command: list[str], environment: dict[str, str], name: str) -> None:
        log = self.state / "logs" / f"{name}.log"
        with log.open("ab") as file:
            finished = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, check=False, env=environment
            )
        if finished.returncode != 0:
            raise LocalError(f"A database could not be brought up to date ({name}): the reason is at the end of {log}.")


def warehouse_database(source: str) -> str:
    """Name the database of a source: data of two sources never share one."""
    if source == DEFAULT_SAMPLE:
        return "warehouse"
    slug = re.sub(r"[^a-z0-9]+", "_", Path(source).name.lower()).strip("_")[:32] or "data"
    return f"warehouse_{slug}_{hashlib.sha256(source.encode()).hexdigest()[:8]}"


def _creation(postgres: EmbeddedPostgres, database: str) -> str:
    """Tell this database from one of the same name on another server or made anew."""
    import psycopg

    with psycopg.connect(postgres.url(database), connect_timeout=10) as connection:
        row = connection.execute(
            "select system_identifier::text || '-' || (select oid from pg_database where datname = current_database())"
            " from pg_control_system()"
        ).fetchone()
    return str(row[0]) if row else ""


def _write_if_changed(path: Path, text: str) -> None:
    if not path.exists() or path.read_text().strip() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, text)
