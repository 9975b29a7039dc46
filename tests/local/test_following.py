"""Following a chain: against a server that answers as Airflow does, played step by step."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from local import following
from local.airflow_client import AirflowClient, last_complaint
from local.errors import LocalError
from local.following import CHAIN, ChainFollower
from local.terminal import Terminal

PASSWORD = "right"
KEY = "2018-01-02"


@dataclass
class Scene:
    """What the stand-in knows: runs by DAG, the outcome of each DAG's one task, and what was asked of it."""

    outcomes: dict[str, str] = field(default_factory=lambda: dict.fromkeys(CHAIN, "success"))
    runs: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {dag_id: [] for dag_id in CHAIN})
    failed_by_us: list[str] = field(default_factory=list)
    expired_tokens: int = 0

    def start(self, dag_id: str, key: str = KEY, state: str = "running") -> dict[str, Any]:
        run = {
            "dag_id": dag_id,
            "dag_run_id": f"manual__{len(self.runs[dag_id])}+00:00",
            "state": state,
            "partition_key": key,
            "run_after": f"2026-01-01T00:00:{len(self.runs[dag_id]):02d}Z",
        }
        self.runs[dag_id].insert(0, run)
        return run

    def advance(self) -> None:
        """Let every running run of our key end, and start what waits for it."""
        for position, dag_id in enumerate(CHAIN):
            for run in self.runs[dag_id]:
                if run["state"] == "running" and run["partition_key"] == KEY:
                    run["state"] = "failed" if self.outcomes[dag_id] == "failed" else "success"
                    if run["state"] == "success" and position + 1 < len(CHAIN) and self.outcomes[dag_id] != "stuck":
                        self.start(CHAIN[position + 1])
                    return

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        parts = [unquote(part) for part in path.split("?")[0].strip("/").split("/")]
        if parts == ["auth", "token"]:
            is_right = body == {"username": "admin", "password": PASSWORD}
            return (201, {"access_token": "token"}) if is_right else (401, {"detail": "Invalid credentials"})
        if self.expired_tokens > 0:
            self.expired_tokens -= 1
            return 401, {"detail": "expired"}
        dag_id = parts[3]
        if method == "POST":
            return 200, self.start(dag_id, body["partition_key"])
        if method == "PATCH":
            self.failed_by_us.append(dag_id)
            return 200, {}
        if parts[-1] == "dagRuns":
            self.advance()
            return 200, {"dag_runs": [dict(run) for runs in self.runs.values() for run in runs]}
        if parts[-1] == "taskInstances":
            return 200, {"task_instances": [self.task(run) for runs in self.runs.values() for run in runs]}
        if parts[-2] == "xcomEntries":
            return 200, {"value": {"rows": 7, "messages": [f"said by {dag_id}"]}}
        detail = [{"exc_type": "LandingError", "exc_value": "sessions.csv has no column user_id: add it."}]
        return 200, {"content": [{"event": "start"}, {"event": "failed", "error_detail": detail}, {"event": "end"}]}

    def task(self, run: dict[str, Any]) -> dict[str, Any]:
        times = {"start_date": "2026-01-01T00:00:00Z", "end_date": "2026-01-01T00:00:02Z"}
        return {**run, "task_id": "work", "try_number": 1, **times}


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def follower(scene: Scene, tmp_path: Path) -> Iterator[ChainFollower]:
    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            status, told = scene.answer(self.command, self.path, body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        do_GET = do_POST = do_PATCH = handle_any  # noqa: N815 - the names that http.server looks for

        def log_message(self, *arguments: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = AirflowClient(f"http://127.0.0.1:{server.server_port}", "admin", PASSWORD)
    yield ChainFollower(client=client, terminal=Terminal(), logs=tmp_path, revive=list)
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(following, "LONGEST_GAP_SECONDS", 0.3)
    monkeypatch.setattr(following, "LONGEST_SILENCE_SECONDS", 0.3)


def test_every_stage_is_told_once_with_rows_and_messages(follower: ChainFollower, capsys: Any) -> None:
    follower.run(date(2018, 1, 2))
    assert [stage.name for stage in follower.finished] == [f"{dag_id}.work" for dag_id in CHAIN]
    assert {(stage.rows, stage.seconds) for stage in follower.finished} == {(7, 2.0)}
    assert [stage.messages for stage in follower.finished] == [(f"said by {dag_id}",) for dag_id in CHAIN]
    printed = capsys.readouterr().out
    for dag_id in CHAIN:
        assert printed.count(f"{dag_id}.work") == 1


def test_a_failure_is_the_sentence_of_its_exception_and_where_its_log_is(follower: ChainFollower, scene: Scene) -> None:
    scene.outcomes["retrain_models"] = "failed"
    with pytest.raises(LocalError) as failure:
        follower.run(date(2018, 1, 2))
    lines = str(failure.value).splitlines()
    assert lines[0] == "retrain_models.work failed: sessions.csv has no column user_id: add it."
    assert "dag_id=retrain_models" in lines[1]
    assert "task_id=work" in lines[1]


def test_runs_of_another_date_and_older_runs_are_not_ours(follower: ChainFollower, scene: Scene) -> None:
    scene.start("publish_targets", state="success")
    scene.start("build_features", key="2018-02-01", state="failed")
    follower.run(date(2018, 1, 2))
    assert len(follower.finished) == len(CHAIN)


def test_what_an_interrupted_command_has_left_is_ended_first(follower: ChainFollower, scene: Scene) -> None:
    scene.start("score_users", key="2017-12-01")
    scene.start("ingest_sources", key="2017-12-01", state="success")
    follower.end_unfinished()
    assert scene.failed_by_us == ["score_users"]


def test_a_chain_that_does_not_go_on_says_which_dag_is_missing(follower: ChainFollower, scene: Scene) -> None:
    scene.outcomes["retrain_models"] = "stuck"
    with pytest.raises(LocalError, match="score_users did not start"):
        follower.run(date(2018, 1, 2))


def test_an_expired_token_is_renewed(follower: ChainFollower, scene: Scene) -> None:
    scene.expired_tokens = 1
    follower.run(date(2018, 1, 2))
    assert len(follower.finished) == len(CHAIN)


def test_a_wrong_password_and_a_silent_airflow_are_said(follower: ChainFollower) -> None:
    wrong = AirflowClient(follower.client.address, "admin", "wrong")
    with pytest.raises(LocalError, match="does not accept the password"):
        wrong.runs()
    with pytest.raises(LocalError, match="does not answer"):
        AirflowClient("http://127.0.0.1:1", "admin", PASSWORD).runs()
    assert AirflowClient("http://127.0.0.1:1", "admin", PASSWORD).health() == {}


def test_a_log_without_an_exception_gives_no_sentence() -> None:
    assert last_complaint([{"event": "all is well"}, "a plain line"]) == ""
