"""Uplift on the Hillstrom experiment: published areas to the digit, and a learned model that is worth having."""

import numpy as np
import pandas as pd
import pytest

from ml.response import Examples, ReturnModel
from ml.response.policy import normalised_area_under_uplift, normalised_qini, uplift_at
from tests.published.hillstrom import read_hillstrom

FEATURES = ["recency", "history", "mens", "womens", "zip_code", "newbie", "channel"]
HALVES = 20
LEAST_QINI = 0.055


def womens_campaign() -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Customers of the campaign and of the control group, who was exposed, and who visited."""
    data = read_hillstrom()
    data = data[data["segment"].isin(["Womens E-Mail", "No E-Mail"])].reset_index(drop=True)
    return data, (data["segment"] == "Womens E-Mail").to_numpy(), data["visit"].to_numpy(dtype=float)


def test_areas_of_the_score_history_are_the_published_ones() -> None:
    data, is_exposed, visited = womens_campaign()
    history = data["history"].to_numpy()
    assert normalised_qini(visited, is_exposed, history) == pytest.approx(0.002622, abs=1e-6)
    assert normalised_area_under_uplift(visited, is_exposed, history) == pytest.approx(0.001048, abs=1e-6)
    assert uplift_at(visited, is_exposed, history, 0.3) == pytest.approx(0.047942, abs=1e-6)


@pytest.mark.slow
def test_a_learned_order_is_worth_having_and_the_one_flag_rule_stands_beside_it(record_property: object) -> None:
    figures = np.array([qini_of_a_half(seed) for seed in range(HALVES)])
    learned, rule, random = figures.mean(axis=0)
    assert callable(record_property)
    for name, figure in (("learned", learned), ("one-flag rule", rule), ("random", random)):
        record_property(f"Qini, {name}", round(float(figure), 4))
    assert learned >= LEAST_QINI
    assert rule == pytest.approx(0.064, abs=0.005)
    assert abs(random) < 0.01


def qini_of_a_half(seed: int) -> tuple[float, float, float]:
    """Learn on a stratified half, rank the other: Qini of the learned uplift, of "bought women's things", of chance."""
    data, is_exposed, visited = womens_campaign()
    draw = np.random.default_rng(seed)
    learns = np.zeros(len(data), dtype=bool)
    for arm in (False, True):
        for outcome in (0, 1):
            stratum = np.flatnonzero((is_exposed == arm) & (visited == outcome))
            learns[draw.permutation(stratum)[: len(stratum) // 2]] = True
    taught, ranked = np.flatnonzero(learns), np.flatnonzero(~learns)
    features = data[FEATURES].iloc[taught].reset_index(drop=True)
    rows = len(taught)
    examples = Examples(
        features=features,
        event_features=pd.DataFrame(index=range(rows)),
        user_ids=np.array([f"customer {number}" for number in taught], dtype=object),
        event_types=np.full(rows, "mail", dtype=object),
        is_exposed=is_exposed[taught],
        assignment_probability=np.full(rows, 0.5),
        reference_days=np.full(rows, 14_000),
        outcome=visited[taught],
    )
    model = ReturnModel(random_state=seed).fit(examples)
    others = data[FEATURES].iloc[ranked].reset_index(drop=True)
    uplift = model.predict(others, pd.DataFrame(index=range(len(ranked))), "mail").uplift
    scores = (uplift, data["womens"].to_numpy(dtype=float)[ranked], draw.random(len(ranked)))
    learned, rule, random = (normalised_qini(visited[ranked], is_exposed[ranked], score) for score in scores)
    return learned, rule, random
