"""How a task calls our code: the date is the run's partition key, the report goes to XCom and the asset event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias, ExceptionRetryPolicy, RetryAction, RetryRule, get_current_context

if TYPE_CHECKING:
    from ml.contracts import StageReport
    from warehouse.settings import Settings

PROJECT_FOLDER = Path(__file__).resolve().parents[1]

DEFAULT_ARGUMENTS = {
    "owner": "data-platform",
    "retries": 2,
    "retry_delay": timedelta(seconds=10),
    # Our own errors are ValueErrors: bad data or bad settings do not get better by waiting. A lost connection does.
    "retry_policy": ExceptionRetryPolicy(
        rules=[RetryRule(exception=ValueError, action=RetryAction.FAIL, reason="a person has to change something")]
    ),
}


class MissingAsOfDateError(ValueError):
    """The run carries no usable as_of_date."""


def as_of_date_of(context: Mapping[str, Any]) -> date:
    """Return the date a run is for: its partition key.

    Raises:
        MissingAsOfDateError: the run was started without a partition key, or with one that is no date.
    """
    key = context["dag_run"].partition_key
    try:
        return date.fromisoformat(key or "")
    except ValueError as error:
        raise MissingAsOfDateError(
            f"This run has the partition key {key!r}; trigger it with the as_of_date as partition key, "
            "for example 2018-01-02."
        ) from error


def run_stage(stage: Callable[[date, Settings], StageReport], outlet: Asset | None = None) -> dict[str, Any]:
    """Run one stage of the chain for the date of the current run and tell the world what it did.

    Args:
        stage: a function of (as_of_date, settings) that returns a report.
        outlet: the asset whose event carries the report's rows, where the task emits one.

    Returns:
        The report as JSON values, which Airflow keeps as the task's return value.
    """
    from warehouse.settings import load_settings

    report = stage(as_of_date_of(get_current_context()), load_settings())
    told = {
        "stage": report.stage,
        "as_of_date": report.as_of_date.isoformat(),
        "rows": report.rows,
        "messages": list(report.messages),
        "details": dict(report.details),
    }
    if outlet is not None:
        emit(outlet, told)
    return told


def emit(asset: Asset, told: Mapping[str, Any], alias: AssetAlias | None = None) -> None:
    """Let the event of an asset carry the date and the rows of a report that `run_stage` returned.

    With an alias, which must be among the outlets of the task, there is no event unless this is called.
    """
    extra = {name: told[name] for name in ("as_of_date", "rows")}
    events = get_current_context()["outlet_events"]
    if alias is None:
        events[asset].extra = extra
    else:
        events[alias].add(asset, extra=extra)


def was_started_by(asset: Asset) -> bool:
    """Whether events of this asset, and of no other, started the current run; a run started by hand was not."""
    return {started.name for started in get_current_context()["triggering_asset_events"]} == {asset.name}


def has_emitted(asset: Asset) -> bool:
    """Whether the current run has emitted this asset before: it succeeded, was cleared, and runs again.

    The asset must be among the inlets of the task: only of these the events can be read.
    """
    context = get_current_context()
    run = context["dag_run"]
    events = context["inlet_events"][asset].after(run.run_after.isoformat())
    return any((event.source_dag_id, event.source_run_id) == (run.dag_id, run.run_id) for event in events)
