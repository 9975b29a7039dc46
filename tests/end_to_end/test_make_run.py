"""The main job as a stranger meets it: `make run` on the sample, again, on an own folder, after a kill -9."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import requests

from local.airflow import ADMINISTRATOR
from local.airflow_client import wait_until
from local.installation import Installation
from local.postgres import EmbeddedPostgres
from tests.end_to_end.conftest import AS_OF, small_company, write_source
from warehouse.door import Warehouse

PROJECT = Path(__file__).resolve().parents[2]
PUBLISHED = ("marketing.targets", "marketing.top_users", "marketing.segment_profiles", "predictions.decisions")

pytestmark = pytest.mark.slow


class Machine:
    """A machine with nothing on it but the project and its environment."""

    def __init__(self, state: Path) -> None:
        self.state = state
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "REKINDLE"))}
        for name in ("WAREHOUSE_URL", "MLFLOW_TRACKING_URI"):
            kept.pop(name, None)
        self.environment = {**kept, "REKINDLE_STATE": str(state)}

    def make(self, *arguments: str, folder: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        """Call make as a person would, from any folder and without a terminal, with more variables of the shell."""
        return subprocess.run(
            ["make", "-C", str(PROJECT), *arguments],
            cwd=folder or PROJECT,
            # As a shell would say it: a relative DATA is meant from there.
            env={**self.environment, "PWD": str(folder or PROJECT), **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
        )

    def rows(self, query: str) -> list[dict[str, str]]:
        result = self.make("psql", f"SQL={query}")
        assert result.returncode == 0, result.stderr
        lines = [line for line in result.stdout.splitlines(keepends=True) if not line.startswith("make")]
        return list(csv.DictReader(io.StringIO("".join(lines))))

    @property
    def warehouse(self) -> Warehouse:
        """The warehouse itself, for what is asked often: `make psql` starts make and Python for every question."""
        return Warehouse((self.state / "warehouse.url").read_text().strip())

    def digest(self, relation: str) -> str:
        rows = self.warehouse.read_frame(f"select cast(t as text) as row from {relation} as t")["row"]
        return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """Stopped and wiped after the tests."""
    with tempfile.TemporaryDirectory(prefix="rekindle-run-") as folder:
        Path(folder).chmod(0o711)
        machine = Machine(Path(folder) / "state")
        try:
            yield machine
        finally:
            machine.make("reset")


@pytest.fixture(scope="module")
def first_run(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `make run` prints on the sample, called from another folder."""
    result = machine.make("run", folder=tmp_path_factory.mktemp("elsewhere"))
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    return result.stdout


def test_make_run_ends_in_targets_stages_and_addresses(machine: Machine, first_run: str) -> None:
    targets = machine.rows("select * from marketing.targets order by cast(rank as integer)")
    assert targets
    assert {target["as_of_date"] for target in targets} == {"2018-01-02"}
    for target in targets[:20]:
        assert target["user_id"] in first_run
    for stage in ("land_source", "build_marts", "train_models", "score_users", "decide_targets", "publish_targets"):
        assert stage in first_run
    assert "http://127.0.0.1:" in first_run
    assert "\x1b[" not in first_run, "without a terminal there are no colours"


def test_the_decisions_cover_every_inactive_user_and_respect_consent(machine: Machine, first_run: str) -> None:
    [row] = machine.rows(
        "select count(*) as decisions, count(*) filter (where decision = 'target') as targets, "
        "(select count(*) from features.feat_user_behaviour where is_inactive and as_of_date = date '2018-01-02') "
        "as inactive from predictions.decisions"
    )
    assert row["decisions"] == row["inactive"] != "0"
    assert int(row["targets"]) > 0


def test_mlflow_keeps_the_version_on_the_same_server(machine: Machine, first_run: str) -> None:
    """Parameters, metrics and the version that the targets carry are in the database `mlflow`."""
    url = (machine.state / "mlflow.url").read_text().strip().replace("+psycopg2", "")
    tracking = Warehouse(url)
    assert tracking.scalar("select count(*) from public.params") > 0
    assert tracking.scalar("select count(*) from public.metrics") > 0
    [target] = machine.rows("select distinct model_version from marketing.targets")
    tagged = "select count(*) from public.model_version_tags where value like %s || '%%'"
    assert tracking.scalar(tagged, (target["model_version"],)) > 0


def test_a_run_of_the_same_date_gives_byte_identical_tables(machine: Machine, first_run: str) -> None:
    before = {relation: machine.digest(relation) for relation in PUBLISHED}
    result = machine.make("run", "AS_OF=2018-01-02")
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    assert {relation: machine.digest(relation) for relation in PUBLISHED} == before


def test_airflows_own_backfill_runs_the_chain_for_a_date_and_leaves_marketing_alone(
    machine: Machine, first_run: str
) -> None:
    airflow = Installation(PROJECT, machine.state).airflow
    login = {"username": ADMINISTRATOR, "password": airflow.password}
    token = requests.post(f"{airflow.address}/auth/token", json=login, timeout=30).json()["access_token"]
    warehouse, newest = machine.warehouse, "select max(as_of_date) from marketing.publications"
    published = warehouse.scalar(newest)
    # The partition of a date begins at 02:00, so the range ends with the day after it.
    created = requests.post(
        f"{airflow.address}/api/v2/backfills",
        headers={"Authorization": f"Bearer {token}"},
        json={"dag_id": "ingest_sources", "from_date": "2017-12-05T00:00:00Z", "to_date": "2017-12-06T00:00:00Z"},
        timeout=30,
    )
    assert created.ok, created.text
    decided = "select count(*) from predictions.decisions where as_of_date = date '2017-12-05'"
    assert wait_until(lambda: warehouse.scalar(decided) > 0, 300, 1)
    assert warehouse.scalar(newest) == published


def test_an_older_date_is_shown_to_the_person_who_asks_for_it(machine: Machine, first_run: str) -> None:
    result = machine.make("run", "AS_OF=2017-12-05")
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    assert "marketing.* showed 2018-01-02 and shows 2017-12-05 now" in result.stdout
    assert {row["as_of_date"] for row in machine.rows("select as_of_date from marketing.top_users")} == {"2017-12-05"}


def test_after_a_kill_the_next_run_serves_a_folder_of_ones_own(
    machine: Machine, first_run: str, tmp_path: Path
) -> None:
    """The scheduler is killed; the next run starts it again and takes another source."""
    write_source(tmp_path / "company", small_company())
    scheduler = json.loads((machine.state / "processes" / "scheduler.json").read_text())["process_id"]
    os.kill(scheduler, signal.SIGKILL)
    result = machine.make("run", "DATA=company", f"AS_OF={AS_OF}", folder=tmp_path)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    assert {row["as_of_date"] for row in machine.rows("select * from marketing.targets")} == {AS_OF.isoformat()}


def test_a_given_warehouse_is_used_in_place_of_the_embedded_one_and_may_hold_the_source(
    machine: Machine, first_run: str, tmp_path: Path, postgres: EmbeddedPostgres
) -> None:
    """WAREHOUSE_URL points at a database of another server, which holds the company's tables in a schema."""
    postgres.ensure_database("of_the_company")
    url = postgres.url("of_the_company")
    folder = write_source(tmp_path / "company", small_company())
    with psycopg.connect(url) as connection:
        connection.execute("create schema game")
        for file in folder.glob("*.csv"):
            columns = ", ".join(f"{name} text" for name in file.read_text().splitlines()[0].split(","))
            connection.execute(f"create table game.{file.stem} ({columns})")
            with connection.cursor().copy(f"copy game.{file.stem} from stdin with (format csv, header)") as stream:
                stream.write(file.read_bytes())
    result = machine.make("run", "DATA=schema:game", f"AS_OF={AS_OF}", folder=tmp_path, WAREHOUSE_URL=url)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    assert "the schema game of of_the_company" in result.stdout
    published = Warehouse(url).scalar("select max(as_of_date) from marketing.publications")
    assert published == AS_OF


def test_a_source_that_is_refused_gives_one_sentence(machine: Machine, first_run: str, tmp_path: Path) -> None:
    source = small_company(user_count=40)
    del source["sessions"]
    write_source(tmp_path / "company", source)
    result = machine.make("run", "DATA=company", f"AS_OF={AS_OF}", folder=tmp_path)
    assert result.returncode != 0
    said = result.stdout + result.stderr
    assert "sessions" in said
    assert "Traceback" not in said


def test_stop_stops_everything(machine: Machine, first_run: str) -> None:
    assert "scheduler" in machine.make("status").stdout
    assert machine.make("stop").returncode == 0
    again = machine.make("stop")
    assert again.returncode == 0
    assert "nothing was up" in again.stdout
