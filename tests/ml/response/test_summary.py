"""Columns that sum up features: what is alike becomes one, and how a user's columns are asked for does not matter."""

import numpy as np
import pandas as pd
import pytest

from ml.registry import pack, unpack
from ml.response.encoding import FeatureEncoder
from ml.response.slopes import GroupedSlopes, fit_slopes
from ml.response.summary import BENDS, FeatureSummary

ROWS = 3000


def frames() -> tuple[pd.DataFrame, pd.DataFrame]:
    draw = np.random.default_rng(3)
    activity = draw.normal(size=ROWS)
    features = pd.DataFrame(
        {
            "sessions": activity + 0.1 * draw.normal(size=ROWS),
            "days_away": -activity + 0.1 * draw.normal(size=ROWS),
            "taste": draw.normal(size=ROWS),
            "country": draw.choice(["DE", "FR", "PL"], ROWS),
        }
    )
    features.loc[::7, "taste"] = np.nan
    return features, pd.DataFrame({"asked": draw.poisson(1.0, ROWS).astype(float), "single": draw.normal(size=ROWS)})


def test_features_that_move_together_become_one_column_and_singles_stand_first() -> None:
    features, towards = frames()
    summary = FeatureSummary(("single",)).fit(pd.concat([features, towards], axis=1))
    names = summary.column_names()
    assert names[0] == "single"
    assert summary.blocks()[:2] == [0, 1]
    assert "sessions and 1 more" in names or "days_away and 1 more" in names


def test_single_columns_are_bent_where_they_are_told_to() -> None:
    features, towards = frames()
    both = pd.concat([features, towards], axis=1)
    straight, bent = FeatureSummary(("single",)).fit(both), FeatureSummary(("single",), (-0.5, 1.5)).fit(both)
    before, matrix = straight.to_matrix(both), bent.to_matrix(both)
    np.testing.assert_array_equal(matrix[:, : before.shape[1]], before)
    np.testing.assert_array_equal(matrix[:, -2], np.maximum(before[:, 0] + 0.5, 0.0))
    np.testing.assert_array_equal(matrix[:, -1], np.maximum(before[:, 0] - 1.5, 0.0))
    assert bent.column_names()[-1] == "single from 1.5 on"
    assert bent.blocks() == [*straight.blocks(), 2, 2]
    # What a bend adds is told of the feature that is bent.
    slopes = np.zeros(matrix.shape[1])
    slopes[-1] = 2.0
    parts = bent.parts(both, slopes)
    single = bent.encoder_.column_names().index("single")
    np.testing.assert_allclose(parts[:, single], 2.0 * matrix[:, -1], atol=1e-12)
    assert not np.delete(parts, single, axis=1).any()


def test_an_effect_above_a_threshold_is_seen_with_bends_and_missed_with_straight_slopes() -> None:
    draw = np.random.default_rng(4)
    trait = draw.normal(size=40_000)
    effect = np.where(trait > 1.5, 1.5, 0.0)
    contrast = draw.integers(0, 2, len(trait)) - 0.5
    outcome = (draw.random(len(trait)) < 1 / (1 + np.exp(1.5 - contrast * effect))).astype(float)
    frame, groups = pd.DataFrame({"trait": trait}), np.full(len(trait), "a")
    missed = {}
    for bends in ((), BENDS):
        summary = FeatureSummary(("trait",), bends)
        matrix = summary.fit_matrix(frame)
        slopes = fit_slopes(matrix, np.full(len(trait), -1.5), outcome, contrast, groups, summary.blocks())
        missed[bends] = np.abs(slopes.predict_mean(matrix, "a") - effect).mean()
    assert missed[BENDS] < 0.7 * missed[()], missed


@pytest.mark.parametrize("bends", [(), (-0.5, 1.5)])
def test_asking_by_parts_one_type_after_another_gives_the_same_columns(bends: tuple[float, ...]) -> None:
    features, towards = frames()
    fitted = FeatureSummary(("single", "taste"), bends)
    matrix = fitted.fit_matrix(pd.concat([features, towards], axis=1))
    summary = FeatureSummary.from_state(unpack(pack(fitted.to_state())))
    np.testing.assert_allclose(summary.to_matrix_of(features, towards), matrix, atol=1e-12)
    # Another type, the same users; then other users.
    other = towards.assign(asked=0.0)
    np.testing.assert_allclose(
        summary.to_matrix_of(features, other), summary.to_matrix(pd.concat([features, other], axis=1)), atol=1e-12
    )
    some = features.iloc[:5]
    np.testing.assert_array_equal(summary.to_matrix_of(some, other.iloc[:5]), summary.to_matrix_of(features, other)[:5])


def test_columns_that_types_share_apart_give_the_same_effect_and_error() -> None:
    features, towards = frames()
    summary = FeatureSummary(("single",)).fit(pd.concat([features, towards], axis=1))
    columns = summary.to_columns_of(features, towards)
    matrix = columns.matrix()
    assert 0 < len(columns.own) < matrix.shape[1]
    draw = np.random.default_rng(5)
    root = draw.normal(size=(2, matrix.shape[1] + 1, matrix.shape[1] + 1))
    means = draw.normal(size=root.shape[:2])
    slopes = GroupedSlopes(("a",), means, root @ root.transpose(0, 2, 1), 0.0, root[:, :, :0])
    for group, position in (("a", 0), ("never seen", 1)):
        design = np.column_stack([np.ones(ROWS), matrix])
        mean, error = slopes.predict(columns, group)
        np.testing.assert_allclose(mean, design @ slopes.means[position], atol=1e-9)
        expected = np.sqrt(np.einsum("ij,jk,ik->i", design, slopes.covariances[position], design))
        np.testing.assert_allclose(error, expected, rtol=1e-7)
        np.testing.assert_array_equal(mean, slopes.predict_mean(columns, group))


def test_texts_as_categories_are_encoded_as_texts() -> None:
    features, _ = frames()
    features.loc[::11, "country"] = None
    encoder = FeatureEncoder().fit(features)
    unseen = features.assign(country=features["country"].where(np.arange(ROWS) % 5 > 0, "XX"))
    as_categories = unseen.assign(country=pd.Categorical(unseen["country"]))
    np.testing.assert_array_equal(encoder.to_matrix(as_categories), encoder.to_matrix(unseen))
    ours, theirs = encoder.to_boosting_frame(as_categories), encoder.to_boosting_frame(unseen)
    pd.testing.assert_frame_equal(ours.astype({"country": str}), theirs.astype({"country": str}))
    assert isinstance(ours["country"].dtype, pd.CategoricalDtype)
    assert "missing" in set(ours["country"])


def test_categories_of_one_word_are_one_category() -> None:
    features, _ = frames()
    encoder = FeatureEncoder().fit(features)
    kinds = np.array([1, "1", "AT", None], dtype=object)[np.arange(ROWS) % 4]
    mixed = features.assign(country=pd.Categorical(kinds, categories=[1, "1", "AT"]))
    encoded = encoder.to_boosting_frame(mixed)["country"]
    assert encoded.astype(str).tolist() == np.array(["1", "1", "AT", "missing"])[np.arange(ROWS) % 4].tolist()


def test_slopes_of_a_group_with_few_rows_follow_the_others_and_noise_vanishes() -> None:
    draw = np.random.default_rng(9)
    x = draw.normal(size=(6000, 10))
    groups = np.where(np.arange(6000) < 5900, "many", "few").astype(object)
    contrast = draw.integers(0, 2, 6000) - 0.5
    chance = 1 / (1 + np.exp(-(-1.0 + contrast * (0.5 + 1.0 * x[:, 0]))))
    outcome = (draw.random(6000) < chance).astype(float)
    fitted = fit_slopes(x, np.full(6000, -1.0), outcome, contrast, groups, [0, *[1] * 9])
    few, many = fitted.means[fitted.groups.index("few")], fitted.means[fitted.groups.index("many")]
    assert np.abs(many[:2] - [0.5, 1.0]).max() < 0.2
    assert np.abs(few[:2] - [0.5, 1.0]).max() < 0.35
    assert np.abs(many[2:]).max() < 0.08
    assert fitted.evidence > 50
    _, known = fitted.predict(x[:50], "many")
    _, unseen = fitted.predict(x[:50], "never seen")
    assert (unseen > known).all()


def test_errors_of_a_sum_over_groups_are_shared_as_far_as_their_slopes_are() -> None:
    draw = np.random.default_rng(17)
    x = draw.normal(size=(4000, 3))
    groups = np.array(["a", "b"], dtype=object)[np.arange(4000) % 2]
    contrast = draw.integers(0, 2, 4000) - 0.5
    own = np.where(groups == "a", 0.8, -0.4)
    outcome = (draw.random(4000) < 1 / (1 + np.exp(1.0 - contrast * own * x[:, 0]))).astype(float)
    weights = np.array([1.0, *x[0]])
    known = (x, np.full(4000, -1.0), outcome, contrast, groups, [0, 1, 1])
    apart = fit_slopes(*known)
    alone = [apart.error_of_sums({name: weights}) for name in ("a", "b")]
    for name, error in zip(("a", "b"), alone, strict=True):
        assert error == pytest.approx(float(apart.predict(x[:1], name)[1][0]), rel=1e-6)
    together = apart.error_of_sums({"a": weights, "b": weights})
    assert together < 0.8 * sum(alone)
    assert apart.error_of_sums({"a": weights, "b": -weights}) ** 2 + together**2 == pytest.approx(
        2 * (alone[0] ** 2 + alone[1] ** 2)
    )
    # Of groups that may not differ the errors are one.
    alike = fit_slopes(*known, has_own_slopes=False)
    error = alike.error_of_sums({"a": weights})
    assert alike.error_of_sums({"a": weights, "b": weights}) == pytest.approx(2 * error, rel=1e-4)
    again = GroupedSlopes.from_state(alike.to_state())
    assert again.error_of_sums({"a": weights, "b": weights}) == pytest.approx(2 * error, rel=1e-4)
