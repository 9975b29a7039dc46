"""When the champion cannot be trusted, somebody else scores and every row says so."""

from pathlib import Path

import numpy as np
import pytest

from ml.pipelines.fallback import FALLBACK_VERSION, trusted_model
from ml.pipelines.model import ScoringModel, open_registry
from ml.pipelines.score import score_users
from ml.pipelines.train import train_models
from tests.ml.pipelines.house import DAY, House


def archive(house: House, sha256: str) -> Path:
    return house.settings.state_folder / "models" / f"{sha256}.zip"


def said(house: House) -> tuple[set[str], set[str]]:
    rows = house.warehouse.read_frame("select model_version, explanation from predictions.response_scores")
    return set(rows["model_version"]), {str(text) for text in rows["explanation"]}


@pytest.mark.parametrize("damage", ["not a number", "the same for everybody", "a feature that is gone"])
def test_a_champion_that_predicts_nonsense_is_passed_over(house: House, damage: str) -> None:
    house.fill(users=300)
    first = train_models(DAY, house.settings)
    registry = open_registry(house.warehouse, house.settings)
    state = registry.load(registry.champion("scoring", DAY))
    learner = {
        "not a number": {"learner": "constant", "kind": "chance", "constant": float("nan")},
        "the same for everybody": flat_linear(state),
        "a feature that is gone": flat_linear(state, "mood"),
    }[damage]
    state["returns"]["baseline"]["learner"] = learner
    registry.save("scoring", state, as_of_date=DAY, parameters={}, metrics={}, promote=True)
    trusted = trusted_model(house.warehouse, DAY, house.settings)
    assert trusted.version == first.details["version"]
    assert {"not a number": "not a number", "the same for everybody": "of everybody"}.get(damage, "mood") in (
        trusted.messages[0]
    )
    assert "earlier model" in trusted.note


def flat_linear(state: dict, name: str = "sessions_count_90d") -> dict:
    """State of a linear learner of one feature that makes no difference."""
    encoder = {
        "maximum_categories": 20,
        "numeric_names": [name],
        "category_names": [],
        "categories": {},
        "medians": np.ones(1),
        "means": np.ones(1),
        "scales": np.ones(1),
        "has_gaps": np.zeros(1, dtype=bool),
    }
    learned = {"penalty": 1.0, "coefficients": np.zeros(1), "intercept": -1.0, "is_constant": False}
    return {"learner": "linear", "kind": "chance", "constant": 0.3, "encoder": encoder, **learned}


def test_without_any_usable_model_means_of_past_campaigns_score_and_the_rows_say_so(house: House) -> None:
    house.fill()
    train_models(DAY, house.settings)
    [version] = open_registry(house.warehouse, house.settings).promoted("scoring", DAY)
    path = archive(house, version.sha256)
    score_users(DAY, house.settings)
    before = house.warehouse.scalar("select count(*) from predictions.user_scores")
    path.write_bytes(path.read_bytes()[:-100])
    report = score_users(DAY, house.settings)
    versions, explanations = said(house)
    assert versions == {FALLBACK_VERSION} == {report.details["version"]}
    assert all(text.startswith("Mean rates of past campaigns") for text in explanations)
    assert any("was changed" in message for message in report.messages)
    assert house.warehouse.scalar("select count(*) from predictions.user_scores") == before
    chances = house.warehouse.read_frame(
        "select distinct p_return_if_not_contacted as alone, uplift from predictions.response_scores"
        " where event_type = 'bonus'"
    )
    # One figure for everybody, with the effect that randomised exposures showed (.20 to .45 in this house).
    assert len(chances) == 1
    assert chances["alone"][0] == pytest.approx(0.2, abs=0.06)
    assert chances["uplift"][0] == pytest.approx(0.25, abs=0.08)


def test_a_good_champion_scores_without_a_word(house: House) -> None:
    house.fill()
    train_models(DAY, house.settings)
    trusted = trusted_model(house.warehouse, DAY, house.settings)
    assert (trusted.note, trusted.messages) == ("", ())
    assert isinstance(trusted.model, ScoringModel)
