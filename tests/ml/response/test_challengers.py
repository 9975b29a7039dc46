"""S-, T-, X- and DR-learners find who is moved, come back from their state, and are judged by randomised rows."""

import numpy as np
import pytest

from ml.registry import pack, unpack
from ml.response.arbiter import Arbiter, beaten_by_more_than_noise
from ml.response.learned_effects import CHALLENGERS, LearnedEffect
from ml.response.shifts import Compared
from ml.response.summary import FeatureSummary
from ml.response.user_effects import EVENT_TYPE, fit_challenger, typed, with_type
from tests.ml.response.worlds import World, make_world


def compared_rows(world: World) -> tuple[Compared, FeatureSummary, np.ndarray]:
    examples = world.examples
    frame = with_type(examples.features, examples.event_features, examples.event_types)
    summary = FeatureSummary()
    matrix = summary.fit_matrix(frame, (EVENT_TYPE,))
    compared = Compared(examples, world.p_without, examples.assignment_probability, np.ones(len(examples)))
    return compared, summary, matrix


@pytest.mark.parametrize("kind", CHALLENGERS)
def test_a_challenger_finds_who_is_moved(kind: str) -> None:
    world = make_world(16_000, seed=4)
    compared, _, matrix = compared_rows(world)
    contest = world.examples.event_types == "contest"
    every = np.ones(len(world.effect), dtype=bool)

    learned = fit_challenger(kind, compared, world.p_without, matrix, contest & every, 1, 1)
    again = LearnedEffect.from_state(unpack(pack(learned.to_state())))
    frame = typed(matrix[contest], world.examples.event_types[contest])
    effect = learned.predict(frame)

    np.testing.assert_array_equal(again.predict(frame), effect)
    assert effect.mean() == pytest.approx(world.effect[contest].mean(), abs=0.04)
    # Without products of exposure and features a linear S-learner knows one shift for everybody.
    if kind != "linear s":
        assert np.corrcoef(effect, world.effect[contest])[0, 1] > 0.5


def test_all_challengers_are_judged() -> None:
    world = make_world(12_000, seed=5)
    compared, summary, matrix = compared_rows(world)

    comparison, metrics = Arbiter(compared, summary, matrix, 1, 1).compare("slopes", CHALLENGERS)

    assert comparison is not None
    assert set(comparison.losses) == {"none", "types", "slopes", *CHALLENGERS}
    assert comparison.differences["none"] > 2 * comparison.standard_errors["none"]
    assert metrics["qini_low"] > 0


def test_the_best_of_many_equals_takes_over_no_more_often_than_the_level_says() -> None:
    """Of 400 runs at a level of 5 %, 30 or more would be a fault (2 %)."""
    draw, rows = np.random.default_rng(3), 1000
    users = np.array([f"user {number}" for number in range(rows)], dtype=object)
    found = 0
    for _ in range(400):
        losses = {name: 1.0 + draw.normal(0.0, 0.1, rows) for name in ("slopes", *CHALLENGERS)}
        found += beaten_by_more_than_noise("slopes", losses, users).chosen != "slopes"
    assert 1 <= found < 30
    losses[CHALLENGERS[3]] = losses["slopes"] - 0.02 + draw.normal(0.0, 0.1, rows)
    assert beaten_by_more_than_noise("slopes", losses, users).chosen == CHALLENGERS[3]
    losses["types"] = losses["slopes"] - 1.0
    assert beaten_by_more_than_noise("slopes", losses, users).chosen == CHALLENGERS[3]
