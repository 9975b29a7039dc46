"""Talks to Airflow over its REST API, with nothing but what the chain's progress needs."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import requests

from local.errors import LocalError

__all__ = ["AirflowClient", "DagRun", "TaskRun", "UnreachableError"]

FINISHED_STATES = ("success", "failed")
REQUEST_TIMEOUT_SECONDS = 30


class UnreachableError(LocalError):
    """Nobody answers at Airflow's address: it is starting, or was killed."""


@dataclass(frozen=True)
class DagRun:
    """A run of a DAG; `state` is queued, running, success or failed."""

    dag_id: str
    run_id: str
    state: str
    partition_key: str | None
    run_after: datetime

    @property
    def is_finished(self) -> bool:
        """Whether its state will not change by itself."""
        return self.state in FINISHED_STATES


@dataclass(frozen=True)
class TaskRun:
    """A task of a run; `state` is None before the scheduler has looked at it."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    state: str | None
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def name(self) -> str:
        """What a person calls it."""
        suffix = f"[{self.map_index}]" if self.map_index >= 0 else ""
        return f"{self.dag_id}.{self.task_id}{suffix}"

    @property
    def seconds(self) -> float:
        """How long it ran, or has been running."""
        if self.started_at is None:
            return 0.0
        return ((self.ended_at or datetime.now(tz=UTC)) - self.started_at).total_seconds()


@dataclass
class AirflowClient:
    """A client of one Airflow, logged in on the first request and again when the token has expired."""

    address: str
    user: str
    password: str
    _session: requests.Session = field(default_factory=requests.Session, repr=False)

    def __post_init__(self) -> None:
        # A proxy of the person at the keyboard is not for 127.0.0.1.
        self._session.trust_env = False

    def health(self) -> dict[str, str]:
        """Return the state of each component by its name; empty while the API server does not answer."""
        try:
            response = self._session.get(f"{self.address}/api/v2/monitor/health", timeout=REQUEST_TIMEOUT_SECONDS)
            reported: Mapping[str, Mapping[str, str | None]] = response.json()
        except (requests.RequestException, ValueError):
            return {}
        return {name: str((told or {}).get("status")) for name, told in reported.items()}

    def dag_ids(self) -> set[str]:
        """Return the DAGs that Airflow knows and can run."""
        dags = self._get("/dags", limit=100)["dags"]
        return {dag["dag_id"] for dag in dags if not dag.get("has_import_errors")}

    def import_errors(self) -> dict[str, str]:
        """Return the last line of the error of each DAG file that cannot be read."""
        errors = self._get("/importErrors", limit=100)["import_errors"]
        return {str(error["filename"]): str(error["stack_trace"]).strip().splitlines()[-1] for error in errors}

    def trigger(self, dag_id: str, partition_key: str) -> DagRun:
        """Start a run of a DAG for a partition."""
        body = {"logical_date": None, "partition_key": partition_key, "conf": {"as_of_date": partition_key}}
        return _dag_run(self._request("POST", f"/dags/{dag_id}/dagRuns", json=body))

    def runs(self, limit: int = 100) -> list[DagRun]:
        """Return the newest runs of all DAGs, newest first."""
        found = self._get("/dags/~/dagRuns", order_by="-run_after", limit=limit)["dag_runs"]
        return [_dag_run(run) for run in found]

    def fail(self, run: DagRun) -> None:
        """End an unfinished run: its tasks are stopped and it counts as failed."""
        self._request("PATCH", f"/dags/{run.dag_id}/dagRuns/{quote(run.run_id)}", json={"state": "failed"})

    def tasks(self, runs: Collection[DagRun]) -> list[TaskRun]:
        """Return the tasks of some runs, in the order in which they started."""
        if not runs:
            return []
        wanted = {(run.dag_id, run.run_id) for run in runs}
        since = min(run.run_after for run in runs).isoformat()
        told = self._get("/dags/~/dagRuns/~/taskInstances", run_after_gte=since, limit=100)["task_instances"]
        found = [task for task in map(_task_run, told) if (task.dag_id, task.run_id) in wanted]
        return sorted(found, key=lambda task: (task.started_at or datetime.max.replace(tzinfo=UTC), task.task_id))

    def returned(self, task: TaskRun) -> dict[str, Any]:
        """Return what a task has returned, where that is a report."""
        path = f"{self._task_path(task)}/xcomEntries/return_value"
        try:
            value = self._get(path, map_index=task.map_index, deserialize=False)["value"]
        except LocalError:
            return {}
        return value if isinstance(value, dict) else {}

    def complaint(self, task: TaskRun) -> str:
        """Return the sentence of the exception that ended a task's last try."""
        try:
            path = f"{self._task_path(task)}/logs/{task.try_number}"
            content = self._get(path, map_index=task.map_index, full_content=True)["content"]
        except LocalError:
            return ""
        return last_complaint(content)

    def _task_path(self, task: TaskRun) -> str:
        return f"/dags/{task.dag_id}/dagRuns/{quote(task.run_id)}/taskInstances/{task.task_id}"

    def _get(self, path: str, **parameters: Any) -> Any:
        return self._request("GET", path, params=parameters)

    def _request(self, method: str, path: str, **arguments: Any) -> Any:
        for attempt in (1, 2):
            if "Authorization" not in self._session.headers:
                self._log_in()
            url = f"{self.address}/api/v2{path}"
            response = self._send(method, url, headers={"Accept": "application/json"}, **arguments)
            if response.status_code != HTTPStatus.UNAUTHORIZED or attempt == 2:
                break
            self._session.headers.pop("Authorization")
        if not response.ok:
            raise LocalError(f"Airflow refused {method} {path} ({response.status_code}): {response.text[:300]}")
        return response.json()

    def _log_in(self) -> None:
        login = {"username": self.user, "password": self.password}
        response = self._send("POST", f"{self.address}/auth/token", json=login)
        if not response.ok:
            raise LocalError(
                f"Airflow at {self.address} does not accept the password of this installation: "
                "`make stop`, then `make run` starts it with the right one."
            )
        self._session.headers["Authorization"] = f"Bearer {response.json()['access_token']}"

    def _send(self, method: str, url: str, **arguments: Any) -> requests.Response:
        try:
            response = self._session.request(method, url, timeout=REQUEST_TIMEOUT_SECONDS, **arguments)
        except requests.RequestException as error:
            raise UnreachableError(
                f"Airflow does not answer at {self.address}: `make status` says what is up."
            ) from error
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise UnreachableError(
                f"Airflow answers with an error ({response.status_code}): see the log of api-server."
            )
        return response


def last_complaint(content: list[Any]) -> str:
    """Find the last exception in a task's structured log and return what it says, without its stack."""
    for message in reversed(content):
        details = message.get("error_detail") if isinstance(message, dict) else None
        for detail in details or ():
            said = str(detail.get("exc_value") or "").strip()
            if said:
                return said
    return ""


def wait_until(condition: Any, timeout_seconds: float, pause_seconds: float = 0.2) -> bool:
    """Ask again and again until `condition()` is true; return whether it came true in time."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause_seconds)
    return True


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _dag_run(told: Mapping[str, Any]) -> DagRun:
    return DagRun(
        dag_id=told["dag_id"],
        run_id=told["dag_run_id"],
        state=told["state"],
        partition_key=told.get("partition_key"),
        run_after=datetime.fromisoformat(told["run_after"]),
    )


def _task_run(told: Mapping[str, Any]) -> TaskRun:
    return TaskRun(
        dag_id=told["dag_id"],
        run_id=told["dag_run_id"],
        task_id=told["task_id"],
        map_index=told.get("map_index", -1),
        try_number=told.get("try_number") or 1,
        state=told["state"],
        started_at=_time(told.get("start_date")),
        ended_at=_time(told.get("end_date")),
    )
