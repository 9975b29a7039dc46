"""Tastes are learned from the answers of active users and carried over to inactive ones."""

import numpy as np
import pandas as pd

from ml.registry import pack, unpack
from ml.response import AffinityModel, Examples, ReturnModel
from ml.response.affinity import AFFINITY

ROWS = 4000


def users(rows: int, *, seed: int, is_active: bool) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Features, types and the taste for the type: `wit` makes for quizzes, and against races."""
    draw = np.random.default_rng(seed)
    wit = draw.normal(size=rows)
    types = np.array(["quiz", "race"], dtype=object)[draw.integers(0, 2, rows)]
    recency = draw.integers(0, 4, rows) if is_active else draw.integers(31, 300, rows)
    features = pd.DataFrame({"wit": wit, "noise": draw.normal(size=rows), "days_since_last_activity": recency})
    return features, types, np.where(types == "quiz", wit, -wit)


def examples(rows: int, *, seed: int, is_active: bool, effect: float = 0.0) -> tuple[Examples, np.ndarray]:
    """Active users answer by taste; inactive users return more often when invited to what they like."""
    features, types, taste = users(rows, seed=seed, is_active=is_active)
    draw = np.random.default_rng(seed + 1)
    exposed = np.ones(rows, dtype=bool) if is_active else draw.random(rows) < 0.5
    log_odds = -1.2 + 0.8 * taste if is_active else -2.2 + exposed * (0.3 + effect * taste)
    outcome = (draw.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(float)
    made = Examples(
        features=features,
        event_features=pd.DataFrame(index=range(rows)),
        user_ids=np.array([f"user {number}" for number in range(rows)], dtype=object),
        event_types=types,
        is_exposed=exposed,
        assignment_probability=np.full(rows, np.nan if is_active else 0.5),
        reference_days=17_000 + 14 * draw.integers(0, 10, rows),
        outcome=outcome,
    )
    return made, taste


def test_tastes_are_found_and_survive_the_archive() -> None:
    inactive, taste = examples(ROWS, seed=5, is_active=False)
    model = AffinityModel().fit(examples(ROWS, seed=1, is_active=True)[0], inactive)
    model = AffinityModel.from_state(unpack(pack(model.to_state())))
    affinity = model.add_to_examples(inactive).event_features[AFFINITY].to_numpy()
    assert np.corrcoef(affinity, taste)[0, 1] > 0.95
    # Active and inactive users share no recency: what it says of the ones must not be said of the others.
    assert "days_since_last_activity" not in model.summary_.encoder_.names_


def test_too_few_answers_teach_nothing_and_change_nothing() -> None:
    inactive, _ = examples(ROWS, seed=5, is_active=False)
    few = examples(ROWS, seed=1, is_active=True)[0].take(np.arange(100))
    model = AffinityModel().fit(few, inactive)
    restored = AffinityModel.from_state(unpack(pack(model.to_state())))
    assert not restored.is_known
    assert restored.add_to_examples(inactive) is inactive
    assert (restored.predict(inactive.features, inactive.event_features, "quiz") == 0).all()


def test_a_taste_tells_whom_an_event_brings_back_and_one_that_means_nothing_does_not() -> None:
    affinity = AffinityModel().fit(
        examples(ROWS, seed=1, is_active=True)[0], examples(ROWS, seed=5, is_active=False)[0]
    )
    spreads = []
    for effect in (0.6, 0.0):
        inactive, taste = examples(3 * ROWS, seed=5, is_active=False, effect=effect)
        model = ReturnModel(affinity=affinity).fit(inactive)
        rows = inactive.event_types == "quiz"
        part = inactive.take(rows)
        uplift = model.predict(part.features, part.event_features, "quiz").uplift
        spreads.append(float(uplift.std()))
        if effect:
            assert np.corrcoef(uplift, taste[rows])[0, 1] > 0.9
    assert spreads[1] < 0.35 * spreads[0]
