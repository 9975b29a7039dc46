"""The commands as a person types them: one sentence on an error, the right exit code, any working directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from local.installation import Installation
from local.postgres import EmbeddedPostgres

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def command(state: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "WAREHOUSE_URL"}
    environment |= {"REKINDLE_STATE": str(state), "PYTHONPATH": str(PROJECT), **variables}
    return subprocess.run(
        [sys.executable, "-m", "local", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=environment,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "--data", "no-such-folder"], "DATA=no-such-folder is neither a folder nor a sample"),
        (["run", "--as-of", "soon"], "AS_OF=soon is no date"),
        (["psql", "--sql", "select 1"], "No warehouse is known yet: type `make run`"),
        (["dbt", "build"], "No warehouse is known yet: type `make run`"),
    ],
)
def test_an_error_is_one_sentence_and_nothing_is_started(state: Path, arguments: list[str], sentence: str) -> None:
    finished = command(state, *arguments)
    assert finished.returncode == 1
    assert sentence in finished.stderr
    assert "Traceback" not in finished.stderr
    assert "nothing was up" in command(state, "stop").stdout


def test_status_and_stop_work_before_the_first_run(state: Path) -> None:
    status = command(state, "status")
    assert status.returncode == 0, status.stderr
    assert status.stdout.count("down") == 5
    assert command(state, "stop").stdout.strip() == "nothing was up"


def test_a_query_is_printed_as_csv(postgres: EmbeddedPostgres, state: Path) -> None:
    query = "select 1 as a, 'x, \"y\"' as b, null as c, 1.50 as d, true as e, 'ä\n' as f"
    finished = command(state, "psql", "--sql", query, WAREHOUSE_URL=postgres.url())
    assert finished.stdout == 'a,b,c,d,e,f\n1,"x, ""y""",,1.50,t,"ä\n"\n'
    assert finished.returncode == 0


def test_a_refused_query_changes_nothing_and_says_why(postgres: EmbeddedPostgres, state: Path) -> None:
    postgres.ensure_database("refusals")
    url = postgres.url("refusals")
    finished = command(state, "psql", "--sql", "create table half (a int); select wrong", WAREHOUSE_URL=url)
    assert finished.returncode == 1
    assert 'column "wrong" does not exist' in finished.stderr
    count = command(
        state, "psql", "--sql", "select count(*) from pg_tables where tablename = 'half'", WAREHOUSE_URL=url
    )
    assert count.stdout == "count\n0\n"


def test_a_warehouse_that_is_down_is_said_without_its_password(state: Path) -> None:
    url = "postgresql://rekindle:s3cret@127.0.0.1:1/warehouse"
    finished = command(state, "psql", "--sql", "select 1", WAREHOUSE_URL=url)
    assert "The warehouse does not answer" in finished.stderr
    assert "s3cret" not in finished.stdout + finished.stderr


def test_two_commands_at_once_do_not_meet(state: Path) -> None:
    with Installation(PROJECT, state).exclusively():
        finished = command(state, "run")
    assert finished.returncode == 1
    assert f"Another command works on {state} (process {os.getpid()})" in finished.stderr


def test_stop_ends_a_command_that_is_at_it(state: Path) -> None:
    hold = (
        "import sys, time; from pathlib import Path; from local.installation import Installation\n"
        f"with Installation(Path({str(PROJECT)!r}), Path({str(state)!r})).exclusively():\n"
        "    print('holding', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", hold], cwd=PROJECT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holding\n"
        finished = command(state, "stop")
        assert finished.returncode == 0, finished.stderr
        assert holder.wait(timeout=20) != 0


def test_a_state_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    finished = command(tmp_path / "file" / "state", "reset")
    assert finished.returncode == 1
    assert str(tmp_path / "file") in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize("letter", ["letter.txt", None])
def test_reset_deletes_what_is_ours_and_nothing_else(state: Path, letter: str | None) -> None:
    if letter is not None:
        state.mkdir()
        (state / letter).write_text("of the person")
    installation = Installation(PROJECT, state)
    with installation.exclusively():
        installation.start_postgres()
        installation.choose_source("complete_journey", "")
    assert (state / "warehouse.url").stat().st_mode & 0o777 == 0o600
    finished = command(state, "reset")
    assert finished.returncode == 0, finished.stderr
    assert [entry.name for entry in state.glob("*")] == ([] if letter is None else [letter])


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., list[str]]:
    """A copy of the Makefile whose environment is a program that writes down how it was called."""
    project = tmp_path / "project"
    (project / "local").mkdir(parents=True)
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / "Makefile").write_text((PROJECT / "Makefile").read_text())
    (project / "local" / "bootstrap.py").write_text("")
    recorder = project / ".venv" / "bin" / "python"
    recorder.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    recorder.chmod(0o755)

    def run(*arguments: str) -> list[str]:
        finished = subprocess.run(
            ["make", "-s", "-C", str(project), f"PYTHON={sys.executable}", *arguments],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env={**os.environ, "PWD": str(tmp_path)},
        )
        called: list[str] = json.loads(finished.stdout)
        return called

    return run


def test_quotes_dollars_and_spaces_in_sql_arrive_as_they_are(make: Callable[..., list[str]]) -> None:
    query = """select 'it''s $1 "x" `y` $(z) \\' as "a b" """
    assert make("psql", f"SQL={query}") == ["-m", "local", "psql", "--sql", query]


def test_a_relative_folder_comes_with_the_place_it_is_meant_from(
    make: Callable[..., list[str]], tmp_path: Path
) -> None:
    called = make("run", "DATA=my data", "AS_OF=2024-01-01")
    assert called[2:] == ["run", "--data", "my data", "--as-of", "2024-01-01", "--from-folder", str(tmp_path)]
