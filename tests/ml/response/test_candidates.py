"""The candidates for chances and amounts: what each promises, and that the right one is taken."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor

from ml.registry import pack, unpack
from ml.response import Examples, ReturnModel, baseline
from ml.response.baseline import predict_unseen, select_baseline
from ml.response.forest import ForestLearner
from ml.response.learners import BoostedLearner, BoostingSettings, learner_from_state
from ml.response.monotone import MonotoneLearner, directions
from ml.response.tuning import Tuning, tuned_boosting
from tests.ml.response.worlds import make_world


def examples_of(chance_of: object, rows: int = 3000, seed: int = 0) -> Examples:
    """Users with three features, who return with a chance that is a function of the features."""
    draw = np.random.default_rng(seed)
    features = pd.DataFrame(
        {
            "sessions_count_90d": draw.poisson(4, rows).astype(float),
            "days_since_last_activity": draw.integers(30, 200, rows).astype(float),
            "country": draw.choice(["DE", "FR", "PL"], rows),
        }
    )
    return Examples(
        features=features,
        event_features=pd.DataFrame(index=range(rows)),
        user_ids=np.array([f"user {number}" for number in range(rows)], dtype=object),
        event_types=np.full(rows, "", dtype=object),
        is_exposed=np.zeros(rows, dtype=bool),
        assignment_probability=np.full(rows, np.nan),
        reference_days=17_000 + 14 * draw.integers(0, 10, rows),
        outcome=(draw.random(rows) < chance_of(features)).astype(float),  # type: ignore[operator]
    )


def straight(features: pd.DataFrame) -> np.ndarray:
    return 1 / (1 + np.exp(1.5 - np.log1p(features["sessions_count_90d"]))).to_numpy()


def rising_and_falling(features: pd.DataFrame) -> np.ndarray:
    """Middling activity returns most: neither a straight line nor a monotone function."""
    return np.where(features["sessions_count_90d"].between(3, 5), 0.6, 0.1)


@pytest.mark.parametrize("kind", ["chance", "amount", "difference"])
def test_a_forest_rests_as_arrays_and_predicts_what_scikit_learn_predicts(kind: str) -> None:
    examples = examples_of(straight)
    forest = ForestLearner(kind, random_state=3).fit(examples.features, examples.outcome)
    matrix = forest.encoder_.to_matrix(examples.features).astype(np.float32)
    peer = RandomForestRegressor(
        50, max_depth=8, min_samples_leaf=20, max_features="sqrt", max_samples=3000, random_state=3
    ).fit(matrix, examples.outcome, sample_weight=np.ones(3000))
    restored = learner_from_state(unpack(pack(forest.to_state())))
    np.testing.assert_allclose(restored.predict(examples.features), peer.predict(matrix), atol=1.1e-4)
    np.testing.assert_array_equal(restored.predict(examples.features), forest.predict(examples.features))
    assert sum(restored.importances().values()) == pytest.approx(1.0)


def test_more_activity_never_lowers_a_monotone_chance() -> None:
    examples = examples_of(rising_and_falling)
    ladder = pd.DataFrame(
        {"sessions_count_90d": np.arange(15.0), "days_since_last_activity": 60.0, "country": ["DE"] * 15}
    )
    free = BoostedLearner("chance").fit(examples.features, examples.outcome).predict(ladder)
    bound = MonotoneLearner("chance").fit(examples.features, examples.outcome)
    restored = learner_from_state(unpack(pack(bound.to_state())))
    assert np.diff(free).min() < -0.1
    assert np.diff(restored.predict(ladder)).min() >= 0
    later = ladder.assign(sessions_count_90d=4.0, days_since_last_activity=np.arange(15.0) * 12)
    assert np.diff(restored.predict(later)).max() <= 0


def test_directions_are_known_by_name() -> None:
    found = directions(["payments_amount_90d", "days_since_last_payment", "sessions_count_life", "refunds_count_life"])
    assert found == {"payments_amount_90d": 1, "sessions_count_life": 1, "days_since_last_payment": -1}


@pytest.mark.parametrize(
    ("chance_of", "taken"),
    [
        (straight, {"shrunken", "linear"}),
        (rising_and_falling, {"boosted", "forest"}),
        (lambda features: 0.3, {"constant"}),
    ],
)
def test_the_simplest_that_fits_is_taken(chance_of: object, taken: set[str]) -> None:
    examples = examples_of(chance_of)
    chosen = select_baseline("chance", examples, np.ones(len(examples)))
    assert chosen.comparison is not None
    assert set(chosen.comparison.losses) == {"constant", "shrunken", "linear", "monotone", "boosted", "forest"}
    assert chosen.comparison.chosen == chosen.learner.name
    assert chosen.learner.name in taken


def test_many_rows_are_compared_on_some_users_and_learned_from_all(monkeypatch: pytest.MonkeyPatch) -> None:
    examples = examples_of(straight, rows=4000)
    whole = select_baseline("chance", examples, np.ones(4000))
    monkeypatch.setattr(baseline, "COMPARED_ROWS", 1500)
    quick = select_baseline("chance", examples, np.ones(4000))
    assert {quick.learner.name, whole.learner.name} <= {"shrunken", "linear"}
    # The winner is fitted on every row either way; only its calibration rests on other rows.
    again = quick.learner.fresh().fit(examples.features, examples.outcome, np.ones(4000))
    np.testing.assert_array_equal(quick.learner.predict(examples.features), again.predict(examples.features))
    assert 0 < quick.report["prediction"].notna().sum() < whole.report["prediction"].notna().sum()
    unseen = predict_unseen("chance", quick, examples, np.ones(4000), examples)
    assert np.corrcoef(unseen, straight(examples.features))[0, 1] > 0.95
    assert not np.array_equal(unseen, quick.predict(examples.features))


def test_a_search_gives_the_same_settings_again_and_never_worse_ones() -> None:
    examples = examples_of(rising_and_falling, rows=1200)
    first = tuned_boosting("chance", examples, np.ones(1200), trials=3, random_state=5)
    assert first == tuned_boosting("chance", examples, np.ones(1200), trials=3, random_state=5)
    assert first.tried == 3
    alone = tuned_boosting("chance", examples, np.ones(1200), trials=1)
    assert alone == Tuning(BoostingSettings(), 1)


def test_a_search_gives_hopeless_settings_up_and_tells_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    examples = examples_of(rising_and_falling, rows=1200)
    with caplog.at_level("INFO", logger="ml.response.tuning"):
        tuned_boosting("chance", examples, np.ones(1200), trials=12, random_state=5)
    told = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in told] == [f"Settings {number} of 12" for number in range(1, 13)]
    assert any("given up" in line for line in told)
    best = [float(line.rsplit(" ", 1)[1].rstrip(".")) for line in told]
    assert best == sorted(best, reverse=True)
    assert best[-1] < best[0]


def test_a_search_ends_with_its_time_and_says_after_how_many_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    examples = make_world(1200, seed=4).examples
    hours = iter(range(10_000))
    clock = SimpleNamespace(now=lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=next(hours)))
    monkeypatch.setattr("optuna.study._optimize.datetime", SimpleNamespace(datetime=clock))
    assert tuned_boosting("chance", examples, np.ones(1200), trials=50, seconds=5_000).tried == 1
    model = ReturnModel(tuning_trials=50, tuning_seconds=5_000).fit(examples)
    assert any("of 50 trials: another run may find others" in message for message in model.messages_)
