"""The chain is killed at any moment, with everything it has started: the next run ends in the same tables."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.end_to_end.conftest import AS_OF, Company, small_company

PROJECT = Path(__file__).parents[2]
CHAIN = """
import sys
from datetime import date
from local.chain import run_chain
from warehouse.settings import load_settings
print("running", flush=True)
run_chain(load_settings(), date.fromisoformat(sys.argv[1]))
print("done", flush=True)
"""
# What the model has read and what anybody reads afterwards.
COMPARED = (
    *("marts.fct_user_days", "marts.fct_user_lapses", "features.feat_user_behaviour", "features.feat_user_money"),
    *("features.feat_user_contacts", "features.training_examples", "features.open_events"),
    *("predictions.user_scores", "predictions.response_scores", "predictions.segments", "predictions.decisions"),
    *("predictions.event_effects", "marketing.targets", "marketing.top_users", "marketing.segment_profiles"),
)

pytestmark = pytest.mark.slow


def start(company: Company) -> subprocess.Popen:
    """Start the chain in a process group of its own and return as soon as it runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHAIN, AS_OF.isoformat()],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **company.environment, "PYTHONPATH": str(PROJECT)},
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    return process


def test_a_chain_killed_again_and_again_ends_in_the_same_tables(
    make_company: Callable[..., Company], request: pytest.FixtureRequest
) -> None:
    undisturbed = make_company()
    undisturbed.write(small_company())
    undisturbed.run(AS_OF - timedelta(days=2))
    killed = make_company(like=undisturbed)
    started = time.monotonic()
    undisturbed.run()
    duration = time.monotonic() - started

    kills = request.config.getoption("--kills")
    moments = random.Random(kills)
    hits = 0
    for number in range(kills):
        process = start(killed)
        # Spread over the whole run, each somewhere within its own part.
        time.sleep(duration * (number + moments.random()) / kills)
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        hits += "done" not in output
    assert hits >= kills / 2
    killed.run()
    for relation in COMPARED:
        assert killed.digest(relation) == undisturbed.digest(relation), relation
    leftovers = killed.warehouse.read_frame(
        "select schemaname || '.' || tablename as name from pg_tables where tablename like '%%__dbt_%%'"
    )
    assert list(leftovers["name"]) == []
