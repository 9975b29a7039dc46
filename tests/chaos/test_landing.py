"""Landing is killed, or its database is, at any moment: nothing is half there, the next run ends in the same tables."""

import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from local.postgres import EmbeddedPostgres
from tests.warehouse.sources import good_source, snapshot, write_csv
from warehouse.door import Warehouse, WarehouseError
from warehouse.landing import LandingError, land_folder
from warehouse.landing.workbench import open_workbench
from warehouse.migrations import migrate
from warehouse.settings import Settings

PROJECT = Path(__file__).parents[2]
# Says when the work begins, so that a kill hits the landing and not the imports.
LANDING = """
import sys
from dataclasses import replace
from pathlib import Path
from warehouse.landing import LandingError, land_folder
from warehouse.settings import load_settings
settings = replace(load_settings(), warehouse_url=sys.argv[2])
print("landing", flush=True)
land_folder(Path(sys.argv[1]), settings)
print("landed", flush=True)
"""

HANG_UP = """
create function raw.hang_up() returns trigger language plpgsql as $$
begin
    perform pg_terminate_backend(pg_backend_pid());
    return new;
end $$
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source that takes long enough to be hit in the middle, some of its rows broken."""
    rows = good_source(users=500, sessions=40_000)
    for session in rows["sessions"][::997]:
        session["duration_seconds"] = "-1"
    return write_csv(tmp_path_factory.mktemp("source"), rows)


def content(warehouse: Warehouse) -> dict[str, list[str]]:
    """Everything that landings write, but for the moment at which they wrote it."""
    everything = snapshot(warehouse)
    del everything["audit.landings"]
    counts = "table_name, batch_id, received, good, quarantined, duplicates"
    rows = warehouse.read_frame(f"select cast(({counts}) as text) as line from audit.landings")
    return {**everything, "landings": sorted(rows.line)}


def begin(folder: Path, url: str) -> subprocess.Popen:
    """Start a landing in a process of its own and return as soon as it has begun."""
    process = subprocess.Popen(
        [sys.executable, "-c", LANDING, str(folder), url],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "landing\n"
    return process


def test_a_killed_landing_leaves_nothing_behind_and_the_next_one_ends_in_the_same_tables(
    make_warehouse_url, settings: Settings, source: Path
) -> None:
    whole = Warehouse(make_warehouse_url())
    started = time.monotonic()
    land_folder(source, replace(settings, warehouse_url=whole.url))
    duration = time.monotonic() - started
    expected = content(whole)
    assert len(expected["sessions"]) > 39_000
    killed = Warehouse(make_warehouse_url())
    empty = content(killed)
    hits = 0
    for share in (0.1, 0.3, 0.5, 0.65, 0.8, 0.95):
        process = begin(source, killed.url)
        time.sleep(share * duration)
        process.send_signal(signal.SIGKILL)
        output, _ = process.communicate()
        found = content(killed)
        assert found in (empty, expected)
        if "landed" in output:
            break
        hits += 1
    assert hits >= 2
    land_folder(source, replace(settings, warehouse_url=killed.url))
    assert content(killed) == expected


def test_a_database_that_dies_during_a_landing_comes_back_with_all_or_nothing(
    make_warehouse_url, settings: Settings, source: Path, tmp_path: Path
) -> None:
    whole = Warehouse(make_warehouse_url())
    started = time.monotonic()
    land_folder(source, replace(settings, warehouse_url=whole.url))
    duration = time.monotonic() - started
    tmp_path.chmod(0o711)
    for folder in (tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o711)
    server = EmbeddedPostgres(tmp_path / "postgres", settings={"shared_buffers": "64MB"})
    try:
        server.start()
        server.ensure_database("fragile")
        migrate(server.url("fragile"))
        empty = content(Warehouse(server.url("fragile")))
        for share in (0.3, 0.7):
            process = begin(source, server.url("fragile"))
            time.sleep(share * duration)
            postmaster = server.process_id()
            assert postmaster is not None
            os.kill(postmaster, signal.SIGQUIT)  # an immediate shutdown: no checkpoint, no farewell
            _, complaint = process.communicate(timeout=300)
            server.start()
            found = content(Warehouse(server.url("fragile")))
            assert found == empty or process.returncode == 0
            if process.returncode != 0:
                check_complaint(complaint, server.url("fragile"))
        land_folder(source, replace(settings, warehouse_url=server.url("fragile")))
        assert content(Warehouse(server.url("fragile"))) == content(whole)
        with pytest.raises(WarehouseError, match="cannot be reached") as raised:
            lose_the_server(server)
        check_complaint("".join(traceback.format_exception(raised.value)), server.url("fragile"))
    finally:
        server.remove()


def lose_the_server(server: EmbeddedPostgres) -> None:
    """Ask something of a server that has stopped since the work began."""
    with open_workbench(Warehouse(server.url("fragile"))) as workbench:
        server.stop()
        workbench.scalar_from_warehouse("select 1")


def test_a_connection_that_breaks_amid_the_rows_ends_in_a_sentence(
    make_warehouse_url, settings: Settings, source: Path
) -> None:
    """Postgres ends the connection at a row in the middle of a table: no half table, and no process that aborts."""
    broken = Warehouse(make_warehouse_url())
    empty = content(broken)
    broken.execute(HANG_UP)
    broken.execute(
        "create trigger hang_up before insert on raw.sessions for each row when (new.session_id like '%5000')"
        " execute function raw.hang_up()"
    )
    process = begin(source, broken.url)
    output, complaint = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "landed" not in output
    check_complaint(complaint, broken.url)
    assert "nothing was landed. Run it again." in complaint
    assert content(broken) == empty
    broken.execute("drop trigger hang_up on raw.sessions")
    assert land_folder(source, replace(settings, warehouse_url=broken.url)).batch_id


def test_a_connection_that_breaks_while_postgres_commits_claims_nothing(
    make_warehouse_url, settings: Settings, source: Path
) -> None:
    broken = Warehouse(make_warehouse_url())
    broken.execute(HANG_UP)
    broken.execute(
        "create constraint trigger hang_up after insert on audit.landings deferrable initially deferred"
        " for each row execute function raw.hang_up()"
    )
    with pytest.raises(LandingError, match="whether all of it was landed is not known"):
        land_folder(source, replace(settings, warehouse_url=broken.url))
    broken.execute("drop trigger hang_up on audit.landings")
    assert land_folder(source, replace(settings, warehouse_url=broken.url)).batch_id


def check_complaint(complaint: str, url: str) -> None:
    """Who reads the log of a landing that broke off finds one of our sentences, and no password."""
    last = complaint.strip().splitlines()[-1]
    assert last.startswith(("warehouse.landing.reports.LandingError: ", "warehouse.door.WarehouseError: ")), complaint
    password = urlsplit(url).password
    assert password is not None
    assert password not in complaint
