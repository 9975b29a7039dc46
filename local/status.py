"""What `make status` says."""

from __future__ import annotations

from datetime import UTC, datetime

import psutil

from local.airflow import ADMINISTRATOR, COMPONENTS
from local.installation import Installation
from local.source import describe_source
from local.terminal import Terminal
from warehouse.settings import Settings

__all__ = ["show_status"]


def show_status(installation: Installation, settings: Settings, terminal: Terminal) -> None:
    """Print which processes are up, since when, where their logs are, and how to reach them."""
    rows = [_postgres_row(installation)]
    for name in COMPONENTS:
        status = installation.supervisor.status(name)
        rows.append(_row(name, status.process_id, status.started_at, str(status.log)))
    columns = [("part", "left"), ("state", "left"), ("process", "right"), ("up for", "right"), ("log", "left")]
    terminal.table(str(installation.state), columns, rows)
    if installation.supervisor.status("api-server").process_id is not None:
        airflow = installation.airflow
        terminal.line(f"Airflow  {airflow.address}  (user {ADMINISTRATOR}, password {airflow.password})")
    if settings.source:
        terminal.line(f"source   {describe_source(settings.source, settings.warehouse_url)}")


def _postgres_row(installation: Installation) -> list[str]:
    process_id = installation.postgres.process_id()
    started_at = None
    if process_id is not None:
        started_at = datetime.fromtimestamp(psutil.Process(process_id).create_time(), tz=UTC)
    return _row("postgres", process_id, started_at, str(installation.postgres.log))


def _row(name: str, process_id: int | None, started_at: datetime | None, log: str) -> list[str]:
    if process_id is None or started_at is None:
        return [name, "down", "", "", log]
    age = datetime.now(tz=UTC) - started_at
    return [name, "up", str(process_id), str(age).split(".", maxsplit=1)[0], log]
