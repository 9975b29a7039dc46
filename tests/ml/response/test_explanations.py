"""Parts add up to the prediction, the feature that matters comes first, and the words can be read."""

import numpy as np
import pandas as pd
import pytest

from ml.response.explanations import contributions, importance_by_feature, reasons_in_words
from ml.response.forest import ForestLearner
from ml.response.learners import BoostedLearner, Learner, LinearLearner
from ml.response.shrunken import ShrunkenLearner

ROWS = 2000


@pytest.fixture(scope="module")
def world() -> tuple[pd.DataFrame, np.ndarray]:
    """Returns depend on silence above all, a little on the country, and on nothing else."""
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "days_since_last_activity": draw.integers(30, 200, ROWS).astype(float),
            "country": draw.choice(["DE", "FR"], ROWS),
            "payments_amount_90d": np.where(draw.random(ROWS) < 0.5, np.nan, draw.random(ROWS) * 9),
        }
    )
    score = 4 - 0.05 * frame["days_since_last_activity"] + 0.8 * (frame["country"] == "DE")
    return frame, (draw.random(ROWS) < 1 / (1 + np.exp(-score))).astype(float)


@pytest.mark.parametrize(
    "learner",
    [LinearLearner("chance"), ShrunkenLearner("chance"), BoostedLearner("chance"), ForestLearner("chance")],
)
def test_silence_is_the_reason(learner: Learner, world: tuple[pd.DataFrame, np.ndarray]) -> None:
    frame, outcome = world
    learner.fit(frame, outcome)
    names, parts = contributions(learner, frame)
    order = np.abs(parts).mean(axis=0).argsort()[::-1]
    assert [names[position] for position in order[:2]] == ["days_since_last_activity", "country"]
    assert next(iter(importance_by_feature(learner))) == "days_since_last_activity"
    silent = frame["days_since_last_activity"].argmax()
    text = reasons_in_words(learner, frame)[silent]
    days = frame["days_since_last_activity"][silent]
    assert text.startswith(f"last activity {days:.0f} days ago (lowers the chance)")
    assert "country " in text
    alone = reasons_in_words(learner, frame.iloc[[silent]].reset_index(drop=True))[0]
    assert alone == text


def test_parts_of_a_forest_of_boosting_and_of_a_shrunken_learner_add_up_to_the_prediction(
    world: tuple[pd.DataFrame, np.ndarray],
) -> None:
    frame, outcome = world
    forest = ForestLearner("chance").fit(frame, outcome)
    rest = forest.predict(frame) - contributions(forest, frame)[1].sum(axis=1)
    assert np.ptp(rest) < 1e-9
    boosted = BoostedLearner("chance").fit(frame, outcome)
    # Features that move together are one column of the shrunken learner, which is cut at four deviations.
    alike = frame.assign(days_again=frame["days_since_last_activity"] + np.arange(ROWS) % 3)
    alike.loc[0, ["days_since_last_activity", "days_again"]] = 5000.0
    shrunken = ShrunkenLearner("chance").fit(alike, outcome)
    chance = boosted.predict(frame)
    rest = np.log(chance / (1 - chance)) - contributions(boosted, frame)[1].sum(axis=1)
    assert np.ptp(rest) < 1e-3
    score = shrunken.summary_.to_matrix(alike) @ shrunken.slopes_
    names, parts = contributions(shrunken, alike)
    np.testing.assert_allclose(parts.sum(axis=1), score, atol=1e-9)
    # What both say is said once, by the one of them that is further from what is usual.
    silence = parts[:, [names.index("days_since_last_activity"), names.index("days_again")]]
    assert (np.count_nonzero(silence, axis=1) <= 1).all()
    assert (np.abs(silence).max(axis=0) > 1).all()


def test_a_constant_has_no_reason_and_gaps_are_said(world: tuple[pd.DataFrame, np.ndarray]) -> None:
    frame, outcome = world
    assert set(reasons_in_words(Learner("chance").fit(frame, outcome), frame)) == {None}
    assert len(reasons_in_words(LinearLearner("chance").fit(frame, outcome), frame[:0])) == 0
    paying = frame.assign(days_since_last_activity=50.0, country="DE")
    returned = paying["payments_amount_90d"].notna().to_numpy().astype(float)
    texts = reasons_in_words(LinearLearner("chance").fit(paying, 0.9 * returned > 0.5), paying)
    gap = int(paying["payments_amount_90d"].isna().argmax())
    assert texts[gap] == "no payments in 90 days (lowers the chance)"
