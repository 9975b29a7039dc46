"""The whole evaluation on a tiny world: written, run through the product, and held beside the truth."""

from pathlib import Path

import numpy as np
import pytest

from local.evaluation import run
from local.evaluation.run import World, evaluate_world
from local.postgres import EmbeddedPostgres


def test_a_tiny_world_is_evaluated_from_its_files_to_the_worth_of_plans(
    postgres: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What can be learned of a tiny world is little, and how long it is learned for does not matter here.
    monkeypatch.setattr(run, "attainable_values", lambda features, truth: truth * 0.5)
    evaluation = evaluate_world(World("slopes", 500, 3), postgres, tmp_path)
    assert evaluation.users > 200
    # The best plan for who knows the truth bounds every other; half of every value orders users as the whole does.
    assert evaluation.oracle == pytest.approx(evaluation.attainable)
    for plan in ("product", "product_as_shipped", "analyst", "likeliest", "random"):
        assert getattr(evaluation, plan) <= evaluation.oracle + 1e-9
    assert evaluation.oracle > 0
    # 500 players hold a handful of payers: nothing is known, so nothing may be lost.
    assert evaluation.contacts == 0 or evaluation.product > -0.02 * evaluation.contacts
    assert 0 <= evaluation.calibration_error < 0.05
    assert all(np.isfinite(error) for error in evaluation.segment_calibration_errors.values())
    assert set(evaluation.segment_money) >= set(evaluation.segment_calibration_errors)
    assert all(0.05 < ratio < 20 for ratio in evaluation.segment_money.values())
    assert evaluation.interval_coverage > 0.8
    assert set(evaluation.seconds) == {"land_source", "build_features", "train_models", "score_users"}
    assert not evaluation.world.was_tuned_on
