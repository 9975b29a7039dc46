"""The story of `make run`: from an empty machine to the users worth inviting, told while it happens."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date
from pathlib import Path

from local.airflow import COMPONENTS, NEEDED_BY_THE_CHAIN
from local.airflow_client import wait_until
from local.errors import LocalError
from local.following import CHAIN, ChainFollower
from local.installation import Installation
from local.samples import prepare_source
from local.source import describe_source, find_as_of_date, find_source
from local.summary import show_summary
from local.terminal import Terminal
from ml.pipelines.publish import publish_targets
from warehouse.door import Warehouse
from warehouse.migrations import migrate
from warehouse.settings import load_settings

__all__ = ["tell_story"]

DAGS_TIMEOUT_SECONDS = 90
REVIVE_EVERY_SECONDS = 3.0


def tell_story(
    installation: Installation, data: str, as_of: str, warehouse_url: str, folders: Sequence[Path], terminal: Terminal
) -> None:
    """Bring everything up, run the chain for a source and a date, and show what came out.

    Raises:
        LocalError: something does not work; the message says what to do.
    """
    started = time.monotonic()
    source = find_source(data, folders, warehouse_url)
    as_of_date = find_as_of_date(as_of, source, warehouse_url)
    terminal.line(f"Rekindle: {describe_source(source, warehouse_url)} as of {as_of_date}", style="bold")
    with installation.exclusively():
        with terminal.step("postgres"):
            installation.start_postgres()
            installation.choose_source(source, warehouse_url)
        _start_rest(installation, terminal)
        follower = ChainFollower(
            client=installation.client,
            terminal=terminal,
            logs=installation.airflow.logs,
            revive=_Reviver(installation),
        )
        _wait_for_dags(follower)
        follower.end_unfinished()
        with ThreadPoolExecutor(max_workers=1) as beside:
            # Nothing asks for these before the models are trained, and MLflow's own lock makes a task wait for it.
            installation.ensure_airflow()
            tracking = beside.submit(installation.migrate_tracking)
            seconds = follower.run(as_of_date)
            tracking.result()
        _publish_what_was_asked_for(as_of_date, terminal)
    terminal.settle()
    show_summary(installation, follower.finished, as_of_date, seconds, time.monotonic() - started, terminal)


def _start_rest(installation: Installation, terminal: Terminal) -> None:
    """Do at the same time what does not wait for each other; the first failure is the one that is told."""

    def start_airflow() -> None:
        # They wait for the migration by themselves, and have a lot to import until then.
        installation.ensure_airflow(NEEDED_BY_THE_CHAIN)
        installation.migrate_airflow()
        installation.wait_for_airflow(NEEDED_BY_THE_CHAIN)

    work = {
        "airflow": start_airflow,
        "warehouse migrations": lambda: migrate(load_settings().warehouse_url),
        "source files": lambda: prepare_source(load_settings()),
    }
    started = time.monotonic()
    terminal.moving(", ".join(work))
    with ThreadPoolExecutor(max_workers=len(work)) as pool:
        futures: dict[str, Future[object]] = {what: pool.submit(action) for what, action in work.items()}
        waiting = dict(futures)
        while waiting:
            for what, future in list(waiting.items()):
                if not future.done():
                    continue
                del waiting[what]
                future.result()
                terminal.done(what, time.monotonic() - started)
                terminal.moving(", ".join(waiting))
            time.sleep(0.05)


def _publish_what_was_asked_for(as_of_date: date, terminal: Terminal) -> None:
    """Show marketing this date although a newer one was published: the chain leaves that to a person, who is here."""
    settings = load_settings()
    newest = Warehouse(settings.warehouse_url).scalar("select max(as_of_date) from marketing.publications")
    if isinstance(newest, date) and newest > as_of_date:
        publish_targets(as_of_date, settings, may_go_back=True)
        terminal.line(f"  marketing.* showed {newest} and shows {as_of_date} now, the date you asked for")


def _wait_for_dags(follower: ChainFollower) -> None:
    """Wait until Airflow has read every DAG of the chain: one that it does not know yet would not be started."""
    client = follower.client
    if wait_until(lambda: client.dag_ids() >= set(CHAIN), DAGS_TIMEOUT_SECONDS):
        return
    errors = [f"{file}: {said}" for file, said in client.import_errors().items()]
    missing = ", ".join(sorted(set(CHAIN) - client.dag_ids()))
    raise LocalError(f"Airflow does not know {missing}. {' '.join(errors) or 'See the log of dag-processor.'}")


class _Reviver:
    """Starts again what has died, looking only every few seconds."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.looked_at = time.monotonic()

    def __call__(self) -> list[str]:
        if time.monotonic() - self.looked_at < REVIVE_EVERY_SECONDS:
            return []
        self.looked_at = time.monotonic()
        revived = []
        if self.installation.postgres.process_id() is None:
            self.installation.postgres.start()
            revived.append("postgres")
        supervisor = self.installation.supervisor
        if any(supervisor.status(name).process_id is None for name in COMPONENTS):
            revived += self.installation.ensure_airflow()
        return revived
