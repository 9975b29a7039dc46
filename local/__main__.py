"""The program behind the Makefile: `python -m local run|stop|status|psql|dbt|power|self-test|reset`."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from local.errors import LocalError
from local.installation import Installation
from local.terminal import Terminal
from warehouse.settings import Settings, SettingsError, load_settings

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        installation = Installation(settings.project_folder, settings.state_folder)
        with Terminal() as terminal:
            code: int = options.command(options, settings, installation, terminal)
        return code
    except KeyboardInterrupt:
        print(
            "\nrekindle: interrupted; what runs in Airflow goes on there. `make stop` ends everything.", file=sys.stderr
        )
        return 130
    except (LocalError, SettingsError) as error:
        print(f"\nrekindle: {error}", file=sys.stderr)
        return 1
    except Exception as error:  # noqa: BLE001 - the last line of defence: a sentence for the person, the rest for us
        log = settings.state_folder / "logs" / "command.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            file.write(f"{datetime.now(tz=UTC).isoformat()} {sys.argv}\n{traceback.format_exc()}\n")
        print(f"\nrekindle: {error}\nWhere it happened: {log}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace, settings: Settings, installation: Installation, terminal: Terminal) -> int:
    from local.story import tell_story

    folders = [Path(options.from_folder or ".").absolute(), settings.project_folder]
    warehouse_url = settings.warehouse_url if settings.is_warehouse_given else ""
    tell_story(installation, options.data, options.as_of, warehouse_url, folders, terminal)
    return 0


def _stop(options: argparse.Namespace, settings: Settings, installation: Installation, terminal: Terminal) -> int:
    with installation.taking_over():
        stopped = installation.stop()
    terminal.line(f"stopped: {', '.join(stopped)}" if stopped else "nothing was up")
    return 0


def _status(options: argparse.Namespace, settings: Settings, installation: Installation, terminal: Terminal) -> int:
    from local.status import show_status

    show_status(installation, settings, terminal)
    return 0


def _psql(options: argparse.Namespace, settings: Settings, installation: Installation, terminal: Terminal) -> int:
    from local.query import open_shell, print_as_csv

    if options.sql:
        print_as_csv(settings.warehouse_url, options.sql)
        return 0
    return open_shell(settings.warehouse_url, installation.postgres)


def _dbt(options: argparse.Namespace, settings: Settings, installation: Installation, terminal: Terminal) -> int:
    from local.chain import run_dbt
    from warehouse.door import Warehouse

    if options.as_of:
        as_of_date = date.fromisoformat(options.as_of)
    else:
        as_of_date = Warehouse(settings.warehouse_url).scalar("select max(as_of_date) from marketing.publications")
    if as_of_date is None:
        raise LocalError("Nothing has been published yet: type `make run` first, or give --as-of <date>.")
    print(run_dbt(options.arguments, settings, as_of_date))
    return 0


def _reset(options: argparse.Namespace, settings: Settings, installation: Installation, terminal: Terminal) -> int:
    with installation.taking_over():
        installation.remove()
    terminal.line(f"stopped everything and deleted {installation.state}")
    return 0


def _power(options: argparse.Namespace, settings: Settings, installation: Installation, terminal: Terminal) -> int:
    from local.experiments import describe_power

    control_share = settings.control_share if options.control_share is None else options.control_share
    for line in describe_power(options.baseline, options.rise, options.users_a_day, control_share, settings):
        terminal.line(line)
    return 0


def _self_test(options: argparse.Namespace, settings: Settings, installation: Installation, terminal: Terminal) -> int:
    from local.experiments import self_test

    terminal.line(self_test(settings, options.experiments))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description="Rekindle on one machine.")
    commands = parser.add_subparsers(required=True, metavar="command")
    run = commands.add_parser("run", help="everything up, then the chain on a source")
    run.add_argument("--data", default="", help="a sample or a folder in the source contract")
    run.add_argument("--as-of", default="", help="the date the chain is run for, as 2018-01-02")
    run.add_argument("--from-folder", default="", help="where a relative folder is meant from")
    run.set_defaults(command=_run)
    commands.add_parser("stop", help="stop everything").set_defaults(command=_stop)
    commands.add_parser("status", help="what is up").set_defaults(command=_status)
    psql = commands.add_parser("psql", help="a shell on the warehouse, or one query as CSV")
    psql.add_argument("--sql", default="", help="a query, whose result is printed as CSV")
    psql.set_defaults(command=_psql)
    dbt = commands.add_parser("dbt", help="a dbt command with the project's settings")
    dbt.add_argument("--as-of", default="", help="the date of the run; without it the last published one")
    dbt.add_argument("arguments", nargs=argparse.REMAINDER, help="what dbt is told, for example build --select marts")
    dbt.set_defaults(command=_dbt)
    power = commands.add_parser("power", help="how many users and days a campaign needs")
    power.add_argument("--baseline", type=float, required=True, help="share of users who return uninvited, as 0.1")
    power.add_argument("--rise", type=float, required=True, help="rise of that share that is to be shown, as 0.02")
    power.add_argument("--users-a-day", type=float, required=True, help="users a campaign chooses a day")
    power.add_argument("--control-share", type=float, default=None, help="share held back; without it the setting")
    power.set_defaults(command=_power)
    self_test = commands.add_parser("self-test", help="experiments without a difference, on the warehouse's own users")
    self_test.add_argument("--experiments", type=int, default=1000, help="how many")
    self_test.set_defaults(command=_self_test)
    commands.add_parser("reset", help="stop everything and delete the state").set_defaults(command=_reset)
    return parser


if __name__ == "__main__":
    sys.exit(main())
