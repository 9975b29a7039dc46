"""The supervisor with real processes: found again, replaced when they must be, gone with all they started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from local.supervisor import Component, Supervisor

# A program that starts a child in a session of its own, as task runners do, and then ignores a polite request.
PARENT = """
import signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
if len(sys.argv) > 1:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(600)
"""


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path / "processes", tmp_path / "logs")
    yield supervisor
    supervisor.stop()


def component(*arguments: str, **variables: str) -> Component:
    return Component("parent", [sys.executable, "-c", PARENT, *arguments], variables, dict(os.environ))


def child_of(supervisor: Supervisor, started: int = 1) -> psutil.Process:
    wait_for(lambda: len(supervisor.log("parent").read_text().split()) >= started)
    return psutil.Process(int(supervisor.log("parent").read_text().split()[-1]))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_it_is_started_once_and_found_again_by_another_supervisor(supervisor: Supervisor) -> None:
    assert supervisor.ensure(component())
    first = supervisor.status("parent")
    again = Supervisor(supervisor.folder, supervisor.logs)
    assert not again.ensure(component())
    assert again.status("parent") == first
    assert first.started_at is not None


def test_a_changed_variable_replaces_it(supervisor: Supervisor) -> None:
    supervisor.ensure(component(PORT="1"))
    before = supervisor.status("parent").process_id
    child = child_of(supervisor)
    assert supervisor.ensure(component(PORT="2"))
    assert supervisor.status("parent").process_id != before
    assert is_gone(child)


def test_stop_takes_children_that_left_the_group(supervisor: Supervisor) -> None:
    supervisor.ensure(component())
    child = child_of(supervisor)
    assert supervisor.stop() == ["parent"]
    assert is_gone(child)
    assert supervisor.status("parent").process_id is None
    assert supervisor.stop() == []


def test_a_program_that_does_not_listen_is_killed(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.supervisor.STOP_TIMEOUT_SECONDS", 1)
    supervisor.ensure(component("stubborn"))
    child = child_of(supervisor)
    leader = psutil.Process(supervisor.status("parent").process_id)
    supervisor.stop()
    assert is_gone(leader)
    assert is_gone(child)


def test_after_a_kill_the_next_start_clears_what_is_left(supervisor: Supervisor) -> None:
    supervisor.ensure(component())
    orphan = child_of(supervisor)
    killed = supervisor.status("parent").process_id
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: supervisor.status("parent").process_id is None)
    assert supervisor.ensure(component())
    assert is_gone(orphan)
    child_of(supervisor, started=2)


def test_orphans_are_found_even_when_the_pid_file_is_lost(supervisor: Supervisor) -> None:
    supervisor.ensure(component())
    orphan = child_of(supervisor)
    (supervisor.folder / "parent.json").unlink()
    assert supervisor.stop(["parent"]) == ["parent"]
    assert is_gone(orphan)


def test_a_strange_process_with_the_number_of_ours_is_left_alone(supervisor: Supervisor) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as stranger:
        supervisor.folder.mkdir(parents=True)
        kept = {"process_id": stranger.pid, "created": 12345.0, "fingerprint": ""}
        (supervisor.folder / "parent.json").write_text(json.dumps(kept))
        assert supervisor.status("parent").process_id is None
        supervisor.stop()
        assert stranger.poll() is None
        stranger.kill()


def test_its_words_are_in_the_log_and_secrets_are_not_in_the_file(supervisor: Supervisor) -> None:
    supervisor.ensure(component(PASSWORD="s3cret-of-the-test"))
    assert child_of(supervisor).pid
    assert "s3cret-of-the-test" not in (supervisor.folder / "parent.json").read_text()
