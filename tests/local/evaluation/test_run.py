"""The whole evaluation on a tiny world: written, run through the product, and held beside the truth."""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from local.evaluation import __main__ as command
from local.evaluation import plans, run
from local.evaluation.run import World, evaluate_world
from local.postgres import EmbeddedPostgres
from tests.dbt_project.building import run_dbt_here
from warehouse.door import Warehouse

# What is promised of the chance to return, of everybody and within each segment.
LARGEST_CALIBRATION_ERROR = 0.02


def test_a_tiny_world_is_evaluated_from_its_files_to_the_worth_of_plans(
    postgres: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What others can learn of a tiny world is little, and how long they learn for does not matter here.
    monkeypatch.setattr(run, "attainable_values", lambda features, truth: truth * 0.5)
    monkeypatch.setitem(plans._SETTINGS, "iterations", 20)
    monkeypatch.setattr(run, "run_dbt", run_dbt_here)
    world = World("slopes", 1_000, 3)
    evaluation = evaluate_world(world, postgres, tmp_path)
    assert evaluation.users > 600
    # The best plan for who knows the truth bounds every other; half of every value orders users as the whole does.
    assert evaluation.oracle == pytest.approx(evaluation.attainable)
    for plan in ("product", "product_as_shipped", "analyst", "likeliest", "random"):
        assert getattr(evaluation, plan) <= evaluation.oracle + 1e-9
    assert evaluation.oracle > 0
    # 1,000 players hold a handful of payers: nothing is known, so nothing may be lost.
    assert evaluation.contacts == 0 or evaluation.product > -0.02 * evaluation.contacts
    # The chances are held against the true ones, so what is left to chance is what they were learned from: moments
    # without an invitation. Of a tenth of those of a third of the users chance leaves the share that returns open by
    # less than a third of what is promised, so the promise can be kept on so small a world.
    moments, returns = (
        Warehouse(postgres.url(world.name))
        .read_frame(
            "select count(*), avg(cast(has_returned as integer)) from features.training_examples"
            " where is_inactive and arm <> 'treated' and has_returned is not null"
        )
        .iloc[0]
    )
    assert 3 * np.sqrt(float(returns) * (1 - float(returns)) / (moments / 10 / 3)) < LARGEST_CALIBRATION_ERROR
    assert 0 <= evaluation.calibration_error <= LARGEST_CALIBRATION_ERROR
    assert len(evaluation.segment_calibration_errors) >= 2
    assert max(evaluation.segment_calibration_errors.values()) <= LARGEST_CALIBRATION_ERROR
    assert set(evaluation.segment_money) >= set(evaluation.segment_calibration_errors)
    assert all(0.05 < ratio < 20 for ratio in evaluation.segment_money.values())
    assert evaluation.interval_coverage > 0.8
    assert set(evaluation.seconds) == {"land_source", "build_features", "train_models", "score_users"}
    assert not evaluation.world.was_tuned_on


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--players", "20", "0"], "at least one player"), (["--seed", "1", "-1"], "must be 0 or more, not -1")],
)
def test_worlds_that_cannot_be_are_refused_before_anything_is_started(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def start(folder: Path) -> None:
        raise AssertionError(f"A server was started in {folder}.")

    monkeypatch.setattr(command, "postgres", start)
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


# Starts the server of an evaluation, says which process it is, and then works for longer than the test waits.
_WORKING = """
import sys, time
from pathlib import Path
from local.evaluation.run import postgres

with postgres(Path(sys.argv[1])) as server:
    print(server.process_id(), flush=True)
    time.sleep(600)
"""


def test_an_evaluation_that_is_ended_stops_its_server() -> None:
    with tempfile.TemporaryDirectory(prefix="rekindle-tests-") as folder:
        Path(folder).chmod(0o711)  # as root the server is another user, who has to get in
        server = EmbeddedPostgres(Path(folder) / "postgres")
        command = [sys.executable, "-c", _WORKING, folder]
        try:
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as working:
                assert working.stdout is not None
                assert int(working.stdout.readline()) == server.process_id()
                working.send_signal(signal.SIGTERM)
                assert working.wait(60) == 128 + signal.SIGTERM
            assert server.process_id() is None
        finally:
            server.remove()
