"""When the champion cannot be trusted, somebody else scores and every row says so."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.pipelines import sanity
from ml.pipelines.fallback import FALLBACK_VERSION, trusted_model
from ml.pipelines.model import ScoringModel, open_registry
from ml.pipelines.reading import read_inactive_users, read_training_rows
from ml.pipelines.score import score_users
from ml.pipelines.train import train_models
from ml.segmentation import UserSegmenter
from tests.ml.pipelines.house import DAY, House


def archive(house: House, sha256: str) -> Path:
    return house.settings.state_folder / "models" / f"{sha256}.zip"


def said(house: House) -> tuple[set[str], set[str]]:
    rows = house.warehouse.read_frame("select model_version, explanation from predictions.response_scores")
    return set(rows["model_version"]), {str(text) for text in rows["explanation"]}


@pytest.mark.parametrize(
    "damage",
    ["not a number", "the same for everybody", "a feature that is gone", "an effect that is no number", "segments"],
)
def test_a_champion_that_predicts_nonsense_is_passed_over(house: House, damage: str) -> None:
    house.fill(users=300)
    first = train_models(DAY, house.settings)
    registry = open_registry(house.warehouse, house.settings)
    state = registry.load(registry.champion("scoring", DAY))
    if damage == "an effect that is no number":
        for effects in ("slopes", "levels"):
            state["returns"]["uplift"]["users"][effects]["means"] *= float("nan")
    elif damage == "segments":
        state["segmenter"]["scaler.columns"][0] = "mood"
    learner = {
        "not a number": {"learner": "constant", "kind": "chance", "constant": float("nan")},
        "the same for everybody": flat_linear(state),
        "a feature that is gone": flat_linear(state, "mood"),
    }
    state["returns"]["baseline"]["learner"] = learner.get(damage, state["returns"]["baseline"]["learner"])
    registry.save("scoring", state, as_of_date=DAY, parameters={}, metrics={}, promote=True)
    trusted = trusted_model(house.warehouse, DAY, house.settings)
    assert trusted.version == first.details["version"]
    reasons = {
        "not a number": "is not a number for",
        "the same for everybody": "of everybody",
        "an effect that is no number": "change in the chance to return is not a number",
    }
    assert reasons.get(damage, "mood") in trusted.messages[0]
    assert "earlier model" in trusted.note


def test_a_champion_of_another_version_of_the_program_is_passed_over_and_replaced(house: House) -> None:
    house.fill()
    first = train_models(DAY, house.settings)
    registry = open_registry(house.warehouse, house.settings)
    state = registry.load(registry.champion("scoring", DAY))
    # Parts that were not there yet, one that has another form, and one that is not known any more.
    others = [
        {name: part for name, part in state.items() if name not in ("money", "activity")},
        {**state, "responses_as_of": 20180102},
        {**state, "returns": {**state["returns"], "baseline": {"learner": "of old"}}},
        {**state, "segmenter": {**state["segmenter"], "names": None}, "money": None},
    ]
    for other in others:
        registry.save("scoring", other, as_of_date=DAY, parameters={}, metrics={}, promote=True)
        trusted = trusted_model(house.warehouse, DAY, house.settings)
        assert trusted.version == first.details["version"]
        assert "another version of this program" in trusted.messages[0]

    archive(house, registry.version("scoring", trusted.version).sha256).unlink()
    assert trusted_model(house.warehouse, DAY, house.settings).version == FALLBACK_VERSION

    report = train_models(DAY, house.settings)
    assert report.rows > 0
    assert any("so a new model takes over" in message for message in report.messages)
    assert trusted_model(house.warehouse, DAY, house.settings).messages == ()


def test_a_champion_of_other_windows_is_passed_over_and_replaced(house: House) -> None:
    house.fill(users=300)
    train_models(DAY, house.settings)
    longer = replace(house.settings, return_window_days=house.settings.return_window_days + 7)
    trusted = trusted_model(house.warehouse, DAY, longer)
    assert trusted.version == FALLBACK_VERSION
    assert "return_window_days was 14 and is 21" in trusted.messages[0]
    report = train_models(DAY, longer)
    assert report.rows > 0
    assert any("return_window_days was 14 and is 21" in message for message in report.messages)
    assert trusted_model(house.warehouse, DAY, longer).version == report.details["version"]
    # Whoever goes back to what was asked before finds the model that was trained for it.
    assert trusted_model(house.warehouse, DAY, house.settings).note.startswith("Scored by the earlier model")


def test_a_young_champion_of_other_examples_is_replaced_by_the_next_training(house: House) -> None:
    """Campaigns of the last year landed after the first training: nobody waits a week for what they teach."""
    house.fill(users=300)
    house.warehouse.execute("comment on table features.training_examples is 'Built with return_window_days 14.'")
    first = train_models(DAY, house.settings)
    assert train_models(DAY, house.settings).rows == 0
    house.warehouse.execute(
        "comment on table features.training_examples is 'Built with return_window_days 14, history of landing 2.'"
    )
    # It says no nonsense, so it scores as long as there is no other.
    assert trusted_model(house.warehouse, DAY, house.settings).version == first.details["version"]
    report = train_models(DAY, house.settings)
    assert any("history of landing 2" in message for message in report.messages)
    assert trusted_model(house.warehouse, DAY, house.settings).version == report.details["version"]
    assert report.details["version"] != first.details["version"]
    assert train_models(DAY, house.settings).rows == 0


def test_a_young_champion_that_predicts_nonsense_is_replaced_by_the_next_training(house: House) -> None:
    house.fill(users=300)
    train_models(DAY, house.settings)
    registry = open_registry(house.warehouse, house.settings)
    state = registry.load(registry.champion("scoring", DAY))
    state["returns"]["baseline"]["learner"] = {"learner": "constant", "kind": "chance", "constant": float("nan")}
    nonsense = registry.save("scoring", state, as_of_date=DAY, parameters={}, metrics={}, promote=True)
    report = train_models(DAY, house.settings)
    assert report.rows > 0
    assert any("The champion cannot be used" in message and "is not a number" in message for message in report.messages)
    trusted = trusted_model(house.warehouse, DAY, house.settings)
    assert trusted.version == report.details["version"] != nonsense.version
    assert trusted.messages == ()


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


# New users of past moments return more often than the others, with an event and without one.
_NEW_USERS_RETURN = """
    update features.training_examples as examples
    set has_returned = hashtext(example_id) % 100 between -99
        and case when users.is_new then 0 else -80 end + case when arm = 'treated' then 20 else 0 end
    from features.feat_user_behaviour as users
    where users.user_id = examples.user_id and users.as_of_date = examples.as_of_date
"""


def test_without_any_usable_model_means_of_segments_score_and_the_rows_say_so(house: House) -> None:
    house.fill(users=300, exposures=3000)
    house.warehouse.execute(_NEW_USERS_RETURN)
    train_models(DAY, house.settings)
    [version] = open_registry(house.warehouse, house.settings).promoted("scoring", DAY)
    path = archive(house, version.sha256)
    score_users(DAY, house.settings)
    before = house.warehouse.scalar("select count(*) from predictions.user_scores")
    path.write_bytes(path.read_bytes()[:-100])
    report = score_users(DAY, house.settings)
    versions, explanations = said(house)
    assert versions == {FALLBACK_VERSION} == {report.details["version"]}
    assert all(text.startswith("Mean rates of past campaigns in the user's segment") for text in explanations)
    assert any("was changed" in message for message in report.messages)
    assert any("segments were found anew" in message for message in report.messages)
    assert not any("one figure for everybody" in message for message in report.messages)
    assert house.warehouse.scalar("select count(*) from predictions.user_scores") == before
    chances = house.warehouse.read_frame(
        "select distinct scores.segment, responses.p_return_if_not_contacted as alone, responses.p_return as invited"
        " from predictions.response_scores as responses"
        " inner join predictions.user_scores as scores using (user_id, as_of_date) where event_type = 'bonus'"
    )
    # One figure for a segment, and the effect that randomised exposures showed.
    assert chances["segment"].is_unique
    assert len(chances) >= 2
    assert np.ptp(chances["alone"]) > 0.02
    assert (chances["invited"] > chances["alone"] + 0.05).all()


def test_means_are_those_of_the_segments_that_marketing_knows_where_these_can_still_be_told(house: House) -> None:
    house.fill(users=300, exposures=3000)
    house.warehouse.execute(_NEW_USERS_RETURN)
    train_models(DAY, house.settings)
    score_users(DAY, house.settings)
    known = "select user_id, segment from predictions.user_scores order by user_id"
    before = house.warehouse.read_frame(known)
    registry = open_registry(house.warehouse, house.settings)
    [version] = registry.promoted("scoring", DAY)
    state = registry.load(version)
    state["segmenter"]["names"] = [f"our own name {number}" for number in range(len(state["segmenter"]["names"]))]
    state["returns"]["baseline"]["learner"] = {"learner": "constant", "kind": "chance", "constant": float("nan")}
    registry.save("scoring", state, as_of_date=DAY, parameters={}, metrics={}, promote=True)
    archive(house, version.sha256).unlink()
    report = score_users(DAY, house.settings)
    after = house.warehouse.read_frame(known)
    assert not any("found anew" in message for message in report.messages)
    assert after["segment"].str.startswith("our own name").all()
    assert pd.factorize(after["segment"])[0].tolist() == pd.factorize(before["segment"])[0].tolist()

    # Each figure can be found by hand: what happened to users without an invitation, a little of all users mixed in.
    rows = read_training_rows(house.warehouse, DAY)
    alone = (rows.keys["arm"] != "treated").to_numpy()
    returned = rows.keys["has_returned"].to_numpy(dtype=float)[alone]
    segments = UserSegmenter.from_state(state["segmenter"]).predict(rows.features[alone])
    overall = (returned.sum() + 0.5) / (len(returned) + 1)
    told = house.warehouse.read_frame(
        "select distinct segment, p_return_if_not_contacted as alone from predictions.user_scores"
    )
    for segment, chance in told.itertuples(index=False):
        inside = returned[segments == segment]
        by_hand = (inside.sum() + 10) / (len(inside) + 10 / overall)
        assert chance == pytest.approx(by_hand, abs=0.01), segment


def test_a_good_champion_scores_without_a_word(house: House) -> None:
    house.fill()
    train_models(DAY, house.settings)
    trusted = trusted_model(house.warehouse, DAY, house.settings)
    assert (trusted.note, trusted.messages) == ("", ())
    assert isinstance(trusted.model, ScoringModel)


def test_models_are_tried_on_users_wherever_the_inactive_ones_lie(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.fill()
    inactive = read_inactive_users(house.warehouse, DAY)
    first = str(inactive.index[0])
    monkeypatch.setattr(sanity, "user_ranges", lambda connection, rows: [("", first), (first, None)])

    probe = sanity.Probe.read(house.warehouse, DAY)

    assert set(probe.users.index) == set(inactive.index)
