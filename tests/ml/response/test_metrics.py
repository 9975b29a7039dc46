"""Metrics agree with figures worked out by hand and with definitions of others."""

import numpy as np
import pytest

from ml.response.metrics import (
    area_under_uplift,
    chance_metrics,
    expected_calibration_error,
    high_value_metrics,
    qini,
    top_decile_lift,
    uplift_metrics,
)
from ml.response.selection import clustered_mean, simplest_within_one_standard_error, time_slices, user_folds


def test_lift_of_the_top_decile_splits_ties() -> None:
    outcome = np.array([1.0] * 10 + [0.0] * 90)
    ones = np.ones(100)
    assert top_decile_lift(outcome, np.linspace(1, 0, 100), ones) == pytest.approx(10.0)
    assert top_decile_lift(outcome, np.full(100, 0.1), ones) == pytest.approx(1.0)


def test_calibration_error_is_the_distance_of_the_means() -> None:
    outcome = np.array([0.0, 1.0] * 500)
    assert expected_calibration_error(outcome, np.full(1000, 0.7), np.ones(1000)) == pytest.approx(0.2)
    assert expected_calibration_error(outcome, np.full(1000, 0.5), np.ones(1000)) == pytest.approx(0.0)


def test_calibration_slope_finds_overconfidence() -> None:
    draw = np.random.default_rng(0)
    logit = draw.normal(-1, 1, 20_000)
    outcome = (draw.random(20_000) < 1 / (1 + np.exp(-logit))).astype(float)
    slope = chance_metrics(outcome, 1 / (1 + np.exp(-2 * logit)), np.ones(20_000))["calibration_slope"]
    assert slope == pytest.approx(0.5, abs=0.03)


def test_high_value_users_who_come_back_are_counted_by_hand() -> None:
    worth = np.array([1.0] * 90 + [9.0] * 10)
    prediction = np.append(np.full(90, 0.9), np.linspace(0.1, 0.5, 10))
    outcome = np.append(np.zeros(90), [0, 0, 0, 1, 0, 0, 0, 0, 0, 1.0])
    found = high_value_metrics(outcome, prediction, np.ones(100), worth)
    assert found == {"high_value_base_rate": 0.2, "high_value_precision": 1.0, "high_value_recall": 0.5}
    assert high_value_metrics(outcome, prediction, np.ones(100), np.ones(100)) == {}
    assert high_value_metrics(np.zeros(100), prediction, np.ones(100), worth) == {}
    # Of a segment its own high-value rows are judged, where there are enough; who is one is told by all rows.
    segment = np.arange(100) % 2 == 1
    inside = high_value_metrics(outcome, prediction, np.ones(100), worth, within=segment, fewest=5)
    assert inside == {"high_value_base_rate": 0.4, "high_value_precision": 1.0, "high_value_recall": 0.5}
    assert high_value_metrics(outcome, prediction, np.ones(100), worth, within=segment, fewest=6) == {}
    assert high_value_metrics(outcome, prediction, np.ones(100), worth, within=np.arange(100) < 90) == {}


def test_one_class_has_no_ranking_but_an_answer() -> None:
    metrics = chance_metrics(np.zeros(5), np.full(5, 0.1), np.ones(5))
    assert "roc_auc" not in metrics
    assert np.isfinite(list(metrics.values())).all()


def uplift_world(rows: int = 40_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(1)
    effect = draw.choice([0.0, 0.2], rows)
    exposed = draw.random(rows) < 0.5
    outcome = (draw.random(rows) < 0.1 + exposed * effect).astype(float)
    return outcome, exposed, effect


def test_qini_of_the_true_effect_is_that_of_the_formula() -> None:
    outcome, exposed, effect = uplift_world()
    ones = np.ones(len(effect))
    # Half the users have .2: the curve rises to .1 at .5 and stays there; the area above the straight line is .025.
    assert qini(outcome, exposed, effect, ones) == pytest.approx(0.025, abs=0.004)
    assert area_under_uplift(outcome, exposed, effect, ones) == pytest.approx(0.075, abs=0.005)
    assert qini(outcome, exposed, -effect, ones) == pytest.approx(-0.025, abs=0.004)
    assert qini(outcome, exposed, np.zeros(len(effect)), ones) == pytest.approx(0.0, abs=1e-12)


def test_intervals_of_a_random_order_cover_zero() -> None:
    outcome, exposed, _ = uplift_world(4000)
    score = np.random.default_rng(2).random(4000)
    users = np.arange(4000).astype(str).astype(object)
    metrics = uplift_metrics(outcome, exposed, score, np.ones(4000), users, random_state=0)
    assert metrics["qini_low"] < 0 < metrics["qini_high"]
    assert metrics["qini_low"] < metrics["qini"] < metrics["qini_high"]


def test_equal_models_give_the_simplest_and_a_better_one_wins() -> None:
    draw = np.random.default_rng(3)
    users = np.arange(500).astype(str)
    plain = draw.random(500)
    same = {"simple": plain, "rich": plain + draw.normal(0, 0.1, 500)}
    assert simplest_within_one_standard_error(same, ["simple", "rich"], users).chosen == "simple"
    better = {"simple": plain, "rich": plain - 0.05 + draw.normal(0, 0.1, 500)}
    assert simplest_within_one_standard_error(better, ["simple", "rich"], users).chosen == "rich"


def test_repeated_rows_of_a_user_are_no_new_evidence() -> None:
    draw = np.random.default_rng(4)
    values, users, ones = draw.normal(size=200), np.arange(200), np.ones(200)
    _, once = clustered_mean(values, users, ones)
    _, fivefold = clustered_mean(np.repeat(values, 5), np.repeat(users, 5), np.ones(1000))
    assert fivefold == pytest.approx(once)


def test_slices_never_cut_a_moment_and_folds_never_cut_a_user() -> None:
    days = np.repeat([1, 2, 3, 9, 11], [50, 10, 10, 20, 10])
    slices = time_slices(days)
    assert not (slices.earlier & slices.later).any()
    assert days[slices.earlier].max() < days[slices.later].min() <= days[slices.later].max() < days[slices.last].min()
    assert not time_slices(np.ones(5)).is_out_of_time
    users = np.array(["a", "b", "a", "c"], dtype=object)
    folds = user_folds(users, seed=1)
    assert folds[0] == folds[2]
    assert user_folds(users[3:], seed=1)[0] == folds[3]
