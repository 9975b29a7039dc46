"""A/A: where treatment is drawn anew after the fact, effects are found no more often than the level says."""

import numpy as np

from ml.response.uplift import EVIDENCE_NEEDED, fit_uplift, with_type
from tests.ml.response.worlds import make_world

RUNS = 200
ROWS = 900


def test_shuffled_treatment_keeps_the_null_model_and_intervals_hold_zero() -> None:
    """Of 200 runs at a level of 5 %, 17 or more would be a fault (2 %)."""
    world = make_world(ROWS, seed=7)
    examples, draw = world.examples, np.random.default_rng(11)
    without = with_type(examples.features, examples.event_features, examples.event_types)
    found, misses = 0, 0
    for _ in range(RUNS):
        shuffled = examples.take(np.arange(ROWS))
        shuffled.is_exposed[:] = draw.permutation(examples.is_exposed)
        # The outcome holds what the real treatment did; drawn anew it is noise that both arms share.
        model = fit_uplift("chance", shuffled, np.full(ROWS, examples.outcome.mean()))
        found += model.chosen != "none"
        assert model.users is not None
        matrix = model.users.summary.to_matrix(without)
        for name in ("bonus", "contest", "story"):
            mean, error = model.users.slopes.predict(matrix[examples.event_types == name], name)
            misses += abs(mean.mean()) > 1.96 * error.mean()
    assert found <= 16
    assert misses <= 0.05 * 3 * RUNS


def test_an_effect_is_found() -> None:
    """The same test with the treatment as it was: the evidence is overwhelming."""
    world = make_world(6000, seed=7)
    model = fit_uplift("chance", world.examples, world.p_without)
    assert model.users is not None
    assert model.users.slopes.evidence > EVIDENCE_NEEDED + 10
