"""Scoring reads the features that a model looks at, and no others; what is said of users does not change by it."""

import numpy as np
import pytest

from ml.pipelines.activity import ACTIVITY
from ml.pipelines.batches import read_user_batches
from ml.pipelines.friends import FRIENDS
from ml.pipelines.matrix import Prediction, UserPredictions, predict_batch
from ml.pipelines.model import open_registry
from ml.pipelines.train import train_models
from ml.response import ResponseError
from ml.segmentation import SegmentationError
from tests.ml.pipelines.house import DAY, House

# Features by which training cannot tell users apart, an attribute that users came with, and friends.
MORE = """
    create table features.feat_user_idle as
        select user_id, as_of_date, 7 as seven_at_first, 'x' as always_x from features.feat_user_behaviour;
    create table features.feat_user_attributes as
        select user_id, as_of_date, left(md5(user_id), 1) as attribute_class, 7 as attribute_seven
        from features.feat_user_behaviour;
    create table features.feat_user_social as
        select user_id, as_of_date, 7 as friends_count, 3 as active_friends_count from features.feat_user_behaviour;
"""
IDLE = {"seven_at_first", "always_x", "attribute_seven"}


@pytest.mark.parametrize("scores", ["the champion", "a model of one feature", "means of segments"])
def test_what_is_said_of_users_is_the_same_without_what_nobody_looks_at(house: House, scores: str) -> None:
    house.fill(users=300)
    house.warehouse.execute(MORE)
    train_models(DAY, house.settings)
    if scores == "a model of one feature":
        house.warehouse.execute("update features.feat_user_idle set seven_at_first = ascii(md5(user_id))")
        registry = open_registry(house.warehouse, house.settings)
        state = registry.load(registry.champion("scoring", DAY))
        state["returns"]["baseline"]["learner"] = of_one_feature("seven_at_first")
        registry.save("scoring", state, as_of_date=DAY, parameters={}, metrics={}, promote=True)
    elif scores == "means of segments":
        for archive in (house.settings.state_folder / "models").glob("*.zip"):
            archive.unlink()
    prediction = Prediction.of(house.warehouse, DAY, house.settings)
    assert (prediction.model_version == "fallback") == (scores == "means of segments")
    found, expected = (
        next(prediction.batches(intervals=2, with_every_feature=every_feature)) for every_feature in (False, True)
    )
    assert set(expected.features) >= IDLE
    of_interest = {"seven_at_first"} if scores == "a model of one feature" else set()
    assert set(found.features) & IDLE == of_interest
    # Where these are missing nothing fails: friends and rhythms would be taken for unknown.
    assert set(found.features) >= {*FRIENDS, *ACTIVITY}
    if scores == "the champion":
        assert "attribute_class" in found.features
    assert len(found.matrix.user_ids) > 100
    for name, figures in figures_of(expected).items():
        np.testing.assert_array_equal(figures_of(found)[name], figures)


def test_a_model_refuses_to_do_without_a_feature_it_looks_at(house: House) -> None:
    house.fill(users=300)
    train_models(DAY, house.settings)
    prediction = Prediction.of(house.warehouse, DAY, house.settings)
    needed = prediction.model.returns.feature_names
    assert "sessions_count_90d" in needed
    batches = read_user_batches(
        house.warehouse,
        DAY,
        ["bonus", "never seen"],
        with_event_features=True,
        names=prediction.feature_names - {"sessions_count_90d"},
    )
    with pytest.raises((ResponseError, SegmentationError), match="sessions_count_90d"):
        predict_batch(prediction, next(batches))


def figures_of(said: UserPredictions) -> dict[str, np.ndarray]:
    arrays = {**vars(said), **vars(said.matrix)}
    return {name: figures for name, figures in arrays.items() if isinstance(figures, np.ndarray)}


def of_one_feature(name: str) -> dict:
    """State of a linear learner of one feature."""
    encoder = {
        "maximum_categories": 20,
        "numeric_names": [name],
        "category_names": [],
        "categories": {},
        "medians": np.zeros(1),
        "means": np.zeros(1),
        "scales": np.ones(1),
        "has_gaps": np.zeros(1, dtype=bool),
    }
    return {
        "learner": "linear",
        "kind": "chance",
        "constant": 0.2,
        "is_constant": False,
        "encoder": encoder,
        "penalty": 10.0,
        "coefficients": np.array([0.1]),
        "intercept": -1.0,
    }
