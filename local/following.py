"""Starts the chain of DAGs for a date and follows it to its end, over Airflow's REST API."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from local.airflow_client import AirflowClient, DagRun, TaskRun, UnreachableError
from local.errors import LocalError
from local.terminal import Terminal

__all__ = ["CHAIN", "ChainFollower", "FinishedStage"]

# The last one ends the chain. They start each other by assets; only the first is triggered.
CHAIN = ("ingest_sources", "build_features", "retrain_models", "score_users", "publish_targets")
POLL_SECONDS = 0.5
# How long nothing may run, after one DAG has ended and before the next has begun.
LONGEST_GAP_SECONDS = 120
LONGEST_SILENCE_SECONDS = 120
DONE_STATES = ("success", "skipped")
FAILED_STATES = ("failed", "upstream_failed", "removed")


@dataclass(frozen=True)
class FinishedStage:
    """A task that has ended well: `rows` is None where it does not count any."""

    name: str
    seconds: float
    rows: int | None
    messages: tuple[str, ...]


@dataclass
class ChainFollower:
    """Follows one chain; `revive` is called now and then to bring dead processes back to life."""

    client: AirflowClient
    terminal: Terminal
    logs: Path
    revive: Callable[[], Sequence[str]]
    finished: list[FinishedStage] = field(default_factory=list)
    _told: set[tuple[str, str, str, int, int]] = field(default_factory=set)
    _closed: set[tuple[str, str]] = field(default_factory=set)

    def end_unfinished(self) -> None:
        """End runs that an interrupted command has left: they would hold up ours."""
        for run in self.client.runs():
            if run.dag_id in CHAIN and not run.is_finished:
                self.terminal.line(f"  an unfinished run of {run.dag_id} ({run.partition_key}) is ended first")
                self.client.fail(run)

    def run(self, as_of_date: date) -> float:
        """Run the chain for a date and return how many seconds it took.

        Raises:
            LocalError: a task failed (the message is what its exception says), or the chain does not go on.
        """
        key = as_of_date.isoformat()
        before = {(run.dag_id, run.run_id) for run in self.client.runs()}
        started = time.monotonic()
        self.client.trigger(CHAIN[0], key)
        active_at = answered_at = time.monotonic()
        while True:
            try:
                runs = self._runs_since(before, key)
                tasks = self._tasks(runs.values())
                answered_at = time.monotonic()
            except UnreachableError:
                # The API server was killed or is restarting: the chain itself may well go on.
                if time.monotonic() - answered_at > LONGEST_SILENCE_SECONDS:
                    raise
                self._revive()
                time.sleep(POLL_SECONDS)
                continue
            self._tell(tasks)
            for dag_id, run in runs.items():
                if run.state == "failed":
                    raise LocalError(self._why(dag_id, run, tasks))
            last = runs.get(CHAIN[-1])
            if last is not None and last.state == "success":
                return time.monotonic() - started
            if any(not run.is_finished for run in runs.values()):
                active_at = time.monotonic()
            elif time.monotonic() - active_at > LONGEST_GAP_SECONDS:
                raise LocalError(self._missing(runs))
            self._show(tasks, time.monotonic() - started)
            self._revive()
            time.sleep(POLL_SECONDS)

    def _runs_since(self, before: Collection[tuple[str, str]], key: str) -> dict[str, DagRun]:
        """Return our run of each DAG that has one by now, in the order of the chain."""
        ours = {
            run.dag_id: run
            for run in self.client.runs()
            if (run.dag_id, run.run_id) not in before and run.partition_key == key
        }
        return {dag_id: ours[dag_id] for dag_id in CHAIN if dag_id in ours}

    def _tasks(self, runs: Collection[DagRun]) -> list[TaskRun]:
        """Return the tasks of those runs that were not over when we asked last."""
        tasks = self.client.tasks([run for run in runs if (run.dag_id, run.run_id) not in self._closed])
        self._closed |= {(run.dag_id, run.run_id) for run in runs if run.state == "success"}
        return tasks

    def _tell(self, tasks: Sequence[TaskRun]) -> None:
        for task in tasks:
            mark = (task.dag_id, task.run_id, task.task_id, task.map_index, task.try_number)
            if mark in self._told:
                continue
            if task.state == "up_for_retry":
                self._told.add(mark)
                self.terminal.line(f"  retry {task.name}: {self.client.complaint(task) or 'it failed once'}")
            elif task.state in DONE_STATES:
                self._told.add(mark)
                self._tell_finished(task)

    def _tell_finished(self, task: TaskRun) -> None:
        report = self.client.returned(task)
        rows = report.get("rows")
        stage = FinishedStage(
            name=task.name,
            seconds=task.seconds,
            rows=int(rows) if isinstance(rows, int | float) else None,
            messages=tuple(str(message) for message in report.get("messages") or ()),
        )
        self.finished.append(stage)
        self.terminal.done(stage.name, stage.seconds, "" if stage.rows is None else f"{stage.rows:,} rows")

    def _show(self, tasks: Sequence[TaskRun], seconds: float) -> None:
        running = [f"{task.name} {task.seconds:.0f} s" for task in tasks if task.state == "running"]
        self.terminal.moving(f"{', '.join(running) or 'waiting for the scheduler'} (chain {seconds:.0f} s)")

    def _revive(self) -> None:
        for name in self.revive():
            self.terminal.line(f"  {name} was down and is started again", style="yellow")

    def _why(self, dag_id: str, run: DagRun, tasks: Sequence[TaskRun]) -> str:
        failed = [
            task for task in tasks if (task.dag_id, task.run_id) == (dag_id, run.run_id) and task.state == "failed"
        ]
        if not failed:
            return f"{dag_id} failed without a failed task: somebody ended it, or see the log of the scheduler."
        task = failed[0]
        said = self.client.complaint(task) or "it gave no reason"
        log = self.logs / f"dag_id={task.dag_id}" / f"run_id={task.run_id}" / f"task_id={task.task_id}"
        return f"{task.name} failed: {said}\nIts log: {log}\nWhat marketing sees is as it was before."

    def _missing(self, runs: Mapping[str, DagRun]) -> str:
        waiting = [dag_id for dag_id in CHAIN if dag_id not in runs]
        return (
            f"{waiting[0]} did not start within {LONGEST_GAP_SECONDS} s after what it waits for had ended: "
            "see the log of the scheduler (`make status` says where)."
        )
