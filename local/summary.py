"""What a person sees when the chain has ended: the targets, a line a stage, what was missing, where to look."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from local.airflow import ADMINISTRATOR
from local.following import FinishedStage
from local.installation import Installation
from local.terminal import Terminal, printable
from warehouse.door import Warehouse
from warehouse.settings import load_settings

__all__ = ["show_summary"]

SHOWN_USERS = 20
# What a narrow terminal does without, the first first.
EXPENDABLE = ("p(return)", "lifetime value", "costs", "type", "segment")


def show_summary(
    installation: Installation,
    finished: Sequence[FinishedStage],
    as_of_date: date,
    chain_seconds: float,
    whole_seconds: float,
    terminal: Terminal,
) -> None:
    """Print what came out of a chain, how long it took, and the addresses and logins of what is up."""
    _show_targets(Warehouse(load_settings().warehouse_url), as_of_date, terminal)
    _show_stages(finished, chain_seconds, whole_seconds, terminal)
    _show_messages(finished, terminal)
    _show_addresses(installation, terminal)


def _show_targets(warehouse: Warehouse, as_of_date: date, terminal: Terminal) -> None:
    targets = warehouse.read_frame(
        "select rank, user_id, segment, event_id, event_type, channel, p_return, uplift, lifetime_value,"
        " expected_incremental_value, cost from marketing.targets order by rank, user_id limit %s",
        (SHOWN_USERS,),
    )
    total = int(str(warehouse.scalar("select count(*) from marketing.targets")))
    if targets.empty:
        terminal.line(f"Nobody is invited as of {as_of_date}: the messages below say why.", style="bold")
        _show_users(warehouse, as_of_date, terminal)
        return
    columns = [
        ("rank", "right"),
        ("user", "left"),
        ("segment", "left"),
        ("event", "left"),
        ("type", "left"),
        ("channel", "left"),
        ("p(return)", "right"),
        ("uplift", "right"),
        ("lifetime value", "right"),
        ("adds", "right"),
        ("costs", "right"),
    ]
    rows = [
        [
            str(int(row["rank"])),
            *(printable(row[name]) for name in ("user_id", "segment", "event_id", "event_type", "channel")),
            f"{row['p_return']:.3f}",
            # Adding 0 turns a minus nothing into a plus nothing.
            f"{round(row['uplift'], 3) + 0.0:+.3f}",
            *(f"{row[name]:,.2f}" for name in ("lifetime_value", "expected_incremental_value", "cost")),
        ]
        for row in targets.to_dict("records")
    ]
    terminal.line("")
    title = f"marketing.targets as of {as_of_date}: the first {len(rows)} of {total:,}"
    terminal.table(title, columns, rows, EXPENDABLE)


def _show_users(warehouse: Warehouse, as_of_date: date, terminal: Terminal) -> None:
    users = warehouse.read_frame(
        "select rank, user_id, segment, value_score, p_return_if_not_contacted, lifetime_value"
        " from marketing.top_users order by rank, user_id limit %s",
        (SHOWN_USERS,),
    )
    columns = [
        ("rank", "right"),
        ("user", "left"),
        ("segment", "left"),
        ("value score", "right"),
        ("p(return) by itself", "right"),
        ("lifetime value", "right"),
    ]
    rows = [
        [
            str(int(row["rank"])),
            *(printable(row[name]) for name in ("user_id", "segment")),
            f"{row['value_score']:.3f}",
            f"{row['p_return_if_not_contacted']:.3f}",
            f"{row['lifetime_value']:,.2f}",
        ]
        for row in users.to_dict("records")
    ]
    if rows:
        terminal.table(f"marketing.top_users as of {as_of_date}: the first {len(rows)}", columns, rows)


def _show_stages(finished: Sequence[FinishedStage], chain: float, whole: float, terminal: Terminal) -> None:
    rows = [[stage.name, "" if stage.rows is None else f"{stage.rows:,}", f"{stage.seconds:.1f}"] for stage in finished]
    rows += [["the chain", "", f"{chain:.1f}"], ["with everything before it", "", f"{whole:.1f}"]]
    terminal.table("stages", [("stage", "left"), ("rows", "right"), ("seconds", "right")], rows)


def _show_messages(finished: Sequence[FinishedStage], terminal: Terminal) -> None:
    messages = [f"  {stage.name}: {message}" for stage in finished for message in stage.messages]
    if messages:
        terminal.line("messages", style="bold")
    for message in messages:
        terminal.line(message)


def _show_addresses(installation: Installation, terminal: Terminal) -> None:
    airflow = installation.airflow
    terminal.line("what is up", style="bold")
    terminal.line(f"  Airflow    {airflow.address}  (user {ADMINISTRATOR}, password {airflow.password})")
    terminal.line('  warehouse  make psql, or make psql SQL="select * from marketing.targets"')
    terminal.line("  make status says more, make stop ends everything.")
