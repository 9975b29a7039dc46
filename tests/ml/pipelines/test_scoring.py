"""Train, score and roll back in a real Postgres, on small feature tables of the shape that dbt builds."""

import json
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from ml.pipelines import rollback
from ml.pipelines.matrix import Prediction, best_events, matrix_values, predict_users, response_matrix
from ml.pipelines.model import load_champion, open_registry
from ml.pipelines.pictures import pictures_folder
from ml.pipelines.reading import FeatureCatalogue, PipelineError, read_inactive_users, read_training_rows
from ml.pipelines.rollback import roll_back_model
from ml.pipelines.score import score_users
from ml.pipelines.train import calibrate_money, train_models
from ml.registry import RegistryError, pack
from tests.ml.pipelines.house import DAY, House


def test_features_are_found_in_the_catalogue_and_keys_are_none(house: House) -> None:
    house.warehouse.execute("create table features.feat_user_mood (user_id text, as_of_date date, mood text)")
    catalogue = FeatureCatalogue.read(house.warehouse)
    assert "mood" in catalogue.user_names
    assert catalogue.event_names == ["past_responses_count"]
    assert not {"user_id", "as_of_date", "last_activity_at"} & set(catalogue.user_names)
    house.warehouse.execute("create table features.feat_user_other (user_id text, as_of_date date, mood text)")
    with pytest.raises(PipelineError, match="both have a column mood"):
        FeatureCatalogue.read(house.warehouse)


def test_only_outcomes_known_by_the_date_are_read(house: House) -> None:
    house.fill()
    known = read_training_rows(house.warehouse, DAY).keys
    earlier = read_training_rows(house.warehouse, DAY - timedelta(days=60)).keys
    assert 0 < len(earlier) < len(known)
    limit = pd.Timestamp(DAY - timedelta(days=60 + 14))
    assert (earlier["as_of_date"] <= limit).all()
    assert known["example_id"].is_monotonic_increasing


def test_a_part_of_the_examples_holds_the_newest_randomised_ones_and_others(house: House) -> None:
    house.fill(exposures=300)
    house.warehouse.execute(
        "update features.training_examples set assignment_probability = null, event_id = null"
        " where right(example_id, 1) < '5'"
    )
    whole, part = (read_training_rows(house.warehouse, DAY, most=most) for most in (None, 40))
    assert (whole.left_out, part.left_out, len(part.keys)) == (0, len(whole.keys) - 40, 40)
    chance = whole.keys[whole.keys["assignment_probability"].notna()]
    assert min(len(chance), len(whole.keys) - len(chance)) > 40, "either kind alone would fill the part"
    drawn = part.keys[part.keys["assignment_probability"].notna()]
    assert len(drawn) == 30, "chance decided three quarters of them"
    assert drawn["as_of_date"].min() >= chance["as_of_date"].sort_values().iloc[-30]
    pd.testing.assert_frame_equal(read_training_rows(house.warehouse, DAY, most=40).keys, part.keys)
    assert len(read_training_rows(house.warehouse, DAY, only_events=True).keys) == len(chance)
    some = read_inactive_users(house.warehouse, DAY, most=9)
    everybody = read_inactive_users(house.warehouse, DAY)
    pd.testing.assert_frame_equal(some, everybody.loc[some.index])
    assert len(some) == 9


@pytest.mark.parametrize("condition", ["number <= 5", "number > 5"])
def test_examples_of_one_kind_take_the_places_that_the_other_leaves(house: House, condition: str) -> None:
    house.fill(exposures=300)
    house.warehouse.execute(
        "update features.training_examples set assignment_probability = null where example_id in (select example_id"
        " from (select *, row_number() over (order by example_id) as number from features.training_examples) as rows"
        f" where {condition})"
    )
    whole = read_training_rows(house.warehouse, DAY).keys
    part = read_training_rows(house.warehouse, DAY, most=len(whole) - 20).keys
    assert len(part) == len(whole) - 20
    is_drawn = whole["assignment_probability"].notna()
    rarer = whole[is_drawn if is_drawn.sum() < len(whole) / 2 else ~is_drawn]
    assert len(rarer) == 5
    assert set(rarer["example_id"]) <= set(part["example_id"])


def test_what_comes_after_a_return_is_learned_from_every_return(house: House) -> None:
    house.fill(exposures=300)
    whole = read_training_rows(house.warehouse, DAY)
    most = int(whole.keys["has_returned"].sum())
    part = read_training_rows(house.warehouse, DAY, most=most, with_every_return=True)

    assert len(part.returns()) == most < len(whole.returns())
    for some, every in (
        (part.conversions(), whole.conversions()),
        (part.revenues(), whole.revenues()),
        (part.worths(), whole.worths()),
    ):
        assert len(every) > 0
        assert list(some.user_ids) == list(every.user_ids)
        assert some.outcome == pytest.approx(every.outcome)
        pd.testing.assert_frame_equal(some.features, every.features)
    assert len(read_training_rows(house.warehouse, DAY, most=most).conversions()) < len(whole.conversions())


def test_a_chain_writes_scores_for_every_inactive_user(house: House) -> None:
    house.fill()
    trained = train_models(DAY, house.settings)
    report = score_users(DAY, house.settings)
    inactive = len(read_inactive_users(house.warehouse, DAY))
    users = house.warehouse.read_frame("select * from predictions.user_scores order by user_id")
    responses = house.warehouse.read_frame("select * from predictions.response_scores order by user_id, event_id")
    assert len(users) == inactive > 50
    assert (responses.groupby("user_id").size() == 3).all()
    assert set(users["model_version"]) == {trained.details["version"]}
    assert users["is_reachable"].mean() == pytest.approx(0.5, abs=0.15)
    # What returns and conversions learned in common is one object again, which is asked once.
    model, _, _ = load_champion(house.warehouse, DAY, house.settings)
    assert model.conversions.affinity is model.returns.affinity
    assert model.returns.affinity is not None
    assert responses["explanation"].isna().all()
    assert (responses["uplift"] == responses["p_return"] - responses["p_return_if_not_contacted"]).all()
    bonus = responses[responses["event_type"] == "bonus"]
    assert set(bonus["evidence"]) == {"randomised"}
    assert bonus["uplift"].mean() == pytest.approx(0.25, abs=0.1)
    assert (responses["uplift_low"] <= responses["uplift"]).all()
    assert any("never seen" in message for message in report.messages)
    # In money, and to be compared across segments: what the planted chances and amounts come to, in each of them.
    planted = 0.45 * (0.5 * 12.5 - 0.5) - 0.2 * 0.5 * 12.5 - 0.1
    first = responses[responses["event_id"] == "event 0"].merge(users[["user_id", "segment"]], on="user_id")
    by_segment = first.groupby("segment")["expected_value"].agg(["mean", "size"])
    assert len(by_segment) > 1
    assert by_segment.loc[by_segment["size"] >= 10, "mean"].between(0.5 * planted, 1.5 * planted).all(), by_segment
    segments = house.warehouse.read_frame("select * from predictions.segments")
    assert segments["size"].sum() == inactive
    assert segments["share"].sum() == pytest.approx(1.0)


def test_running_again_in_other_batches_gives_the_same_rows_and_the_same_version(house: House) -> None:
    house.fill()

    def contents(rows_per_batch: int) -> list[pd.DataFrame]:
        score_users(DAY, house.settings, rows_per_batch=rows_per_batch)
        return [
            house.warehouse.read_frame(f"select * from predictions.{table} order by 1, 2, 3")
            for table in ("user_scores", "response_scores", "segments", "pictures")
        ] + [pd.DataFrame({"bytes": [path.read_bytes() for path in sorted(folder.iterdir())]})]

    folder = pictures_folder(DAY, house.settings)

    first_version = train_models(DAY, house.settings).details["version"]
    first = contents(65_536)
    house.warehouse.execute("delete from predictions.model_versions")
    assert train_models(DAY, house.settings).details["version"] == first_version
    for before, after in zip(first, contents(7), strict=True):
        pd.testing.assert_frame_equal(before, after)
    whole = response_matrix(house.warehouse, DAY, house.settings)
    parts = response_matrix(house.warehouse, DAY, house.settings, rows=7)
    for name in ("user_ids", "p_return", "p_return_if_not_contacted", "revenue"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_intervals_are_told_of_the_best_events_alone_and_are_those_of_all(house: House) -> None:
    house.fill()
    train_models(DAY, house.settings)
    prediction = Prediction.of(house.warehouse, DAY, house.settings)
    of_all, of_two, of_none = (next(prediction.batches(intervals=count)).matrix for count in (9, 2, 0))
    assert len(prediction.events) > 2
    assert of_none.uplift_low is None
    assert of_none.uplift_high is None
    best = best_events(matrix_values(of_all), 2)
    for name in ("uplift_low", "uplift_high"):
        everywhere, shown = getattr(of_all, name), getattr(of_two, name)
        assert np.isfinite(everywhere).all()
        assert (np.isfinite(shown).sum(axis=1) == 2).all()
        np.testing.assert_array_equal(
            np.take_along_axis(shown, best, axis=1), np.take_along_axis(everywhere, best, axis=1)
        )


def test_pictures_show_every_user_and_say_where_they_are(house: House) -> None:
    house.fill()
    train_models(DAY, house.settings)
    report = score_users(DAY, house.settings)
    folder = pictures_folder(DAY, house.settings)
    assert report.details["pictures"] == str(folder)
    names = {"segment_profiles", "segment_scatter", "value_distribution", "value_gain"}
    assert {path.name for path in folder.iterdir()} == {f"{name}.png" for name in names}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.iterdir())
    pictures = house.warehouse.read_frame("select * from predictions.pictures").set_index("picture")
    assert set(pictures.index) == names
    assert (house.settings.state_folder / pictures["file"]["value_gain"]).exists()
    data = {name: json.loads(pictures["data"][name]) for name in names}
    users = house.warehouse.read_frame("select segment, value_score from predictions.user_scores")
    assert sum(data["value_distribution"]["users"]) == len(users)
    assert (
        pd.Series(data["segment_scatter"]["segment"]).value_counts().to_dict()
        == users["segment"].value_counts().to_dict()
    )
    assert data["value_gain"]["gain"][-1] == pytest.approx(users["value_score"].sum(), rel=1e-4)
    examples = house.warehouse.read_frame("select example from predictions.segments")["example"]
    assert examples.str.contains("days since").all()


def test_scores_do_not_depend_on_who_is_scored_beside(house: House) -> None:
    house.fill()
    train_models(DAY, house.settings)
    together = response_matrix(house.warehouse, DAY, house.settings)
    somebody = together.user_ids[7]
    house.warehouse.execute(
        "delete from features.feat_user_behaviour where as_of_date = %s and user_id <> %s", (DAY, somebody)
    )
    alone = response_matrix(house.warehouse, DAY, house.settings)
    assert list(alone.user_ids) == [somebody]
    np.testing.assert_array_equal(alone.p_return[0], together.p_return[7])
    np.testing.assert_array_equal(matrix_values(alone)[0], matrix_values(together)[7])


def test_a_fresh_version_is_not_trained_again_and_a_challenger_must_win(house: House) -> None:
    house.fill(exposures=2500, users=600)
    first = train_models(DAY, house.settings)
    again = train_models(DAY + timedelta(days=6), house.settings)
    assert again.rows == 0
    assert "younger than 7 days" in again.messages[0]
    later = DAY + timedelta(days=8)
    for table in ("feat_user_behaviour", "feat_user_money", "feat_user_profile"):
        users = house.warehouse.read_frame(f"select * from features.{table} where as_of_date = %s", (DAY,))
        house.write(table, users.assign(as_of_date=later))
    challenger = train_models(later, house.settings)
    assert challenger.details["status"] == "challenger"
    assert any("The champion stays" in message for message in challenger.messages)
    # The models of responses stay; segments, values and rhythms are refreshed all the same.
    before, _, _ = load_champion(house.warehouse, DAY, house.settings)
    model, version, _ = load_champion(house.warehouse, later, house.settings)
    assert version.version not in (first.details["version"], challenger.details["version"])
    assert pack(model.returns.to_state()) == pack(before.returns.to_state())
    assert model.responses_as_of == DAY
    # The users are the same, so hardly anybody changes the segment.
    assert version.metrics["segments_moved_share"] <= 0.05
    assert model.segmenter is not None
    assert before.segmenter is not None
    assert set(model.segmenter.names_) == set(before.segmenter.names_)
    assert any(f"version {version.version}" in message for message in challenger.messages)
    # Money is brought to what came in by the segments as they are now, not as they were.
    assert set(model.money.factors_) <= set(model.segmenter.names_)
    assert model.money.factors_ == {
        name.removeprefix("money_factor/"): factor
        for name, factor in version.metrics.items()
        if name.startswith("money_factor/")
    }
    rows = read_training_rows(house.warehouse, later)
    assert model.money.factors_ == calibrate_money(rows, model.conversions, model.revenues, model.segmenter)[0].factors_
    assert model.money.factors_ != before.money.factors_


def test_money_is_held_against_predictions_of_users_not_seen(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that knows every payment by heart expects what came in; held against itself it would look right."""
    house.fill(exposures=2500, users=600)
    train_models(DAY, house.settings)
    model, _, _ = load_champion(house.warehouse, DAY, house.settings)
    rows = read_training_rows(house.warehouse, DAY)

    def by_heart(features: pd.DataFrame) -> np.ndarray:
        raise AssertionError("the factors were learned from predictions of users whose payments are known")

    monkeypatch.setattr(model.conversions, "predict_baseline", by_heart)
    monkeypatch.setattr(model.revenues, "predict_baseline", by_heart)
    money, metrics = calibrate_money(rows, model.conversions, model.revenues, model.segmenter)
    assert money.factors_
    assert {f"money_factor_error/{name}" for name in money.factors_} <= set(metrics)
    assert all(metrics[f"money_factor_error/{name}"] > 0 for name in money.factors_)


def test_every_version_says_how_good_it_is_where_the_money_is_and_in_each_segment(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.pipelines.train._JUDGED_ROWS", 10)
    house.fill(exposures=4000, users=600)
    train_models(DAY, house.settings)
    model, version, _ = load_champion(house.warehouse, DAY, house.settings)
    shown = house.warehouse.scalar("select metrics from predictions.model_versions where status = 'champion'")
    metrics = json.loads(shown) if isinstance(shown, str) else shown
    errors = {
        name.removeprefix("return_expected_calibration_error/"): error
        for name, error in metrics.items()
        if name.startswith("return_expected_calibration_error/")
    }
    assert model.segmenter is not None
    assert errors
    assert set(errors) <= set(model.segmenter.names_)
    assert all(0 <= error <= 0.2 for error in errors.values())
    # One segment alone would have the error of all.
    assert len(errors) == 1 or len(set(errors.values())) > 1
    assert 0 < metrics["return_high_value_precision"] <= 1
    assert 0 < metrics["return_high_value_recall"] <= 1
    by_segment = {name.split("/")[1] for name in metrics if name.startswith("return_high_value_precision/")}
    assert by_segment
    assert by_segment <= set(model.segmenter.names_)
    assert all(0 <= metrics[f"return_high_value_recall/{name}"] <= 1 for name in by_segment)
    assert version.metrics["return_high_value_recall"] == metrics["return_high_value_recall"]


def test_a_changed_model_file_falls_back_to_the_version_before_and_says_so(house: House) -> None:
    house.fill()
    first = train_models(DAY, house.settings)
    registry = open_registry(house.warehouse, house.settings)
    state = registry.load(registry.champion("scoring", DAY))
    second = registry.save("scoring", {**state, "note": "x"}, as_of_date=DAY, parameters={}, metrics={}, promote=True)
    assert load_champion(house.warehouse, DAY, house.settings)[1].version == second.version
    path = house.settings.state_folder / "models" / f"{second.sha256}.zip"
    path.write_bytes(path.read_bytes() + b" ")
    _, version, messages = load_champion(house.warehouse, DAY, house.settings)
    assert version.version == first.details["version"]
    assert "was changed" in messages[0]
    assert roll_back_model(house.settings).version == first.details["version"]


def test_one_command_rolls_back_and_says_so(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    house.fill(exposures=0)
    first = train_models(DAY, house.settings)
    monkeypatch.setattr("sys.argv", ["rollback"])
    monkeypatch.setattr("ml.pipelines.rollback.load_settings", lambda: house.settings)
    assert rollback.main() == 1
    assert "no earlier version" in capsys.readouterr().err
    registry = open_registry(house.warehouse, house.settings)
    state = registry.load(registry.champion("scoring", DAY))
    registry.save("scoring", {**state, "note": "x"}, as_of_date=DAY, parameters={}, metrics={}, promote=True)
    assert rollback.main() == 0
    assert f"Version {first.details['version']} of {DAY} is in charge again" in capsys.readouterr().out
    score_users(DAY, house.settings)
    scored = house.warehouse.read_frame("select distinct model_version from predictions.user_scores")["model_version"]
    assert scored.tolist() == [first.details["version"]]


def test_cold_start_scores_users_without_any_exposure(house: House) -> None:
    house.fill(exposures=0)
    report = train_models(DAY, house.settings)
    assert any("is a guess" in message for message in report.messages)
    scored = score_users(DAY, house.settings)
    assert any("Invite a random part" in message for message in scored.messages)
    evidence = house.warehouse.read_frame("select distinct evidence, uplift from predictions.response_scores")
    assert evidence.to_numpy().tolist() == [["insufficient", 0.0]]


def test_nobody_inactive_and_nothing_open_are_no_errors(house: House) -> None:
    house.fill(events=0, inactive_share=0.0)
    house.warehouse.execute("update features.feat_user_behaviour set is_inactive = false where as_of_date = %s", (DAY,))
    train_models(DAY, house.settings)
    report = score_users(DAY, house.settings)
    assert report.rows == 0
    assert len(report.messages) == 3
    assert predict_users(house.warehouse, DAY, house.settings).matrix.p_return.shape == (0, 0)


def test_one_user_only(house: House) -> None:
    house.fill(users=1, exposures=5, inactive_share=1.0)
    train_models(DAY, house.settings)
    assert score_users(DAY, house.settings).details["users"] == 1


def test_a_date_before_all_data_and_a_missing_model_are_said_clearly(house: House) -> None:
    with pytest.raises(PipelineError, match="before all data"):
        train_models(date(1999, 1, 1), house.settings)
    house.fill(exposures=0)
    with pytest.raises(RegistryError, match="run retrain_models"):
        score_users(DAY, house.settings)
