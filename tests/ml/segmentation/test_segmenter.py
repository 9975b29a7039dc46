"""Planted kinds of users are found, named and kept; odd tables are survived."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from ml.segmentation import SegmentationError, UserSegmenter


def users(count: int = 2_000, *, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Four kinds of users: big spenders, weekend visitors, social users, rare visitors."""
    random = np.random.default_rng(seed)
    kind = random.integers(0, 4, count)
    frame = pd.DataFrame(
        {
            "payments_amount_365d": np.where(kind == 0, random.lognormal(6, 0.5, count), 0.0),
            "payments_count_365d": np.where(kind == 0, random.poisson(20, count), 0),
            "weekend_share": np.where(kind == 1, random.beta(16, 4, count), random.beta(6, 14, count)),
            "friends_count": np.where(kind == 2, random.poisson(25, count), random.poisson(2, count)),
            "sessions_count_365d": np.where(kind == 3, random.poisson(1, count), random.poisson(30, count)),
            "days_since_last_activity": random.integers(30, 200, count),
            "days_since_last_payment": np.where(kind == 0, random.integers(30, 300, count), np.nan),
            "country": random.choice(["DE", "FR", "PL"], count),
            "last_activity_at": pd.Timestamp("2026-01-01", tz="UTC"),
            "empty": np.nan,
            "constant": 7,
        },
        index=[f"user {number:06d}" for number in range(count)],
    )
    return frame, kind


@pytest.fixture(scope="module")
def fitted() -> tuple[UserSegmenter, pd.DataFrame, np.ndarray]:
    frame, kind = users()
    return UserSegmenter(random_state=3).fit(frame), frame, kind


def test_planted_kinds_are_found_and_named(fitted) -> None:
    segmenter, frame, kind = fitted
    segments = segmenter.predict(frame)
    assert adjusted_rand_score(kind, segments) > 0.95
    named = {pd.Series(segments[kind == number]).mode()[0] for number in range(4)}
    assert len(named) == 4
    assert named == {"Weekend visitors", "Social users", "Rare visitors", "Former big spenders"}
    assert pd.Series(segments[kind == 1]).mode()[0] == "Weekend visitors"
    assert pd.Series(segments[kind == 2]).mode()[0] == "Social users"


def test_rules_are_in_words_and_numbers_and_faithful(fitted) -> None:
    segmenter, frame, _ = fitted
    assert segmenter.choice_["fidelity"] > 0.95
    social = next(profile for profile in segmenter.profiles_ if profile.segment == "Social users")
    assert "number of friends above" in social.definition
    assert social.precision > 0.9
    assert sum(profile.size for profile in segmenter.profiles_) == len(frame)
    assert sum(profile.share for profile in segmenter.profiles_) == pytest.approx(1.0)
    assert set(social.typical) == {"country"}


def test_a_user_is_judged_alone(fitted) -> None:
    segmenter, frame, _ = fitted
    together = segmenter.predict(frame.iloc[:200])
    alone = [segmenter.predict(frame.iloc[[row]])[0] for row in range(200)]
    assert list(together) == alone
    stretched = frame.iloc[:200].assign(payments_amount_365d=lambda table: table["payments_amount_365d"])
    stretched.iloc[100:, stretched.columns.get_loc("payments_amount_365d")] = 1e12
    assert list(segmenter.predict(stretched)[:100]) == list(together[:100])


def test_order_of_users_changes_nothing(fitted) -> None:
    segmenter, frame, _ = fitted
    shuffled = frame.sample(frac=1.0, random_state=1)
    again = UserSegmenter(random_state=3).fit(shuffled)
    assert again.names_ == segmenter.names_
    assert (again.predict(frame) == segmenter.predict(frame)).all()


def test_artefact_survives_the_way_through_json_and_arrays(fitted) -> None:
    segmenter, frame, _ = fitted
    state = segmenter.to_state()
    plain = {key: value for key, value in state.items() if not isinstance(value, np.ndarray)}
    arrays = {key: value.copy() for key, value in state.items() if isinstance(value, np.ndarray)}
    rebuilt = UserSegmenter.from_state({**json.loads(json.dumps(plain)), **arrays})
    assert (rebuilt.predict(frame) == segmenter.predict(frame)).all()
    assert rebuilt.describe(frame, rebuilt.predict(frame)) == segmenter.profiles_
    np.testing.assert_array_equal(rebuilt.project(frame), segmenter.project(frame))


def test_names_stay_after_a_refit_on_new_data(fitted) -> None:
    segmenter, _, _ = fitted
    later, _ = users(2_500, seed=11)
    before = segmenter.predict(later)
    again = UserSegmenter(random_state=9).fit(later, previous=segmenter)
    after = again.predict(later)
    assert (before == after).mean() >= 0.95
    assert again.refit_ is not None
    assert again.refit_.moved_share == pytest.approx((before != after).mean())
    assert set(again.refit_.kept) == set(segmenter.names_)


def test_a_kind_that_changed_its_rule_gets_a_new_name(fitted) -> None:
    segmenter, _, _ = fitted
    later, kind = users(2_000, seed=12)
    # The rare visitors are gone; in their place stand users who only come at night, which nobody was before.
    later["night_share"] = np.where(kind == 3, 0.9, 0.1) + np.random.default_rng(0).normal(0, 0.05, len(later))
    later["sessions_count_365d"] = 30 + np.random.default_rng(1).poisson(5, len(later))
    again = UserSegmenter(random_state=3).fit(later, previous=segmenter)
    night = pd.Series(again.predict(later)[kind == 3]).mode()[0]
    assert night == "Night visitors"
    assert "Night visitors" in again.refit_.added
    assert "Rare visitors" in again.refit_.gone


@pytest.mark.parametrize("count", [1, 2, 5, 25])
def test_few_users(count: int) -> None:
    frame, _ = users(count)
    segmenter = UserSegmenter().fit(frame)
    assert len(segmenter.predict(frame)) == count
    assert 1 <= len(segmenter.names_) <= max(1, count // 10)
    assert all(profile.definition for profile in segmenter.profiles_)


def test_tables_that_say_nothing() -> None:
    for frame in (
        pd.DataFrame({"a": [np.nan] * 50, "b": [3] * 50}),
        pd.DataFrame(index=range(50)),
        pd.DataFrame({"country": ["DE"] * 50}),
        pd.DataFrame({"a": [0.0] * 49 + [1e300]}),
        pd.DataFrame({"a": [np.inf, -np.inf] * 25}),
    ):
        segmenter = UserSegmenter().fit(frame)
        segments = segmenter.predict(frame)
        assert len(segments) == 50
        UserSegmenter.from_state(segmenter.to_state()).predict(frame)


def test_one_huge_outlier_does_not_hide_the_kinds() -> None:
    frame, kind = users()
    frame.iloc[0, 0] = 1e12
    frame.iloc[1, 3] = 1_000_000
    segments = UserSegmenter(random_state=3).fit(frame).predict(frame)
    assert adjusted_rand_score(kind, segments) > 0.95


def test_gaps_and_nullable_types() -> None:
    frame, _ = users(600)
    frame = frame.convert_dtypes()
    frame["is_member"] = pd.array([True, False, None] * 200, dtype="boolean")
    segmenter = UserSegmenter().fit(frame)
    assert len(set(segmenter.predict(frame))) == len(segmenter.names_)


@pytest.mark.parametrize("method", ["kmeans", "gaussian_mixture", "agglomerative", "hdbscan"])
def test_each_method_alone(method: str) -> None:
    frame, kind = users(1_500)
    segmenter = UserSegmenter(methods=(method,), random_state=3).fit(frame)
    assert adjusted_rand_score(kind, segmenter.predict(frame)) > 0.6
    rebuilt = UserSegmenter.from_state(segmenter.to_state())
    assert (rebuilt.predict(frame) == segmenter.predict(frame)).all()


def test_errors_say_what_to_do() -> None:
    frame, _ = users(100)
    with pytest.raises(SegmentationError, match="at least one user"):
        UserSegmenter().fit(frame.iloc[:0])
    with pytest.raises(SegmentationError, match="fit first"):
        UserSegmenter().predict(frame)
    with pytest.raises(SegmentationError, match="Choose methods"):
        UserSegmenter(methods=("dbscan",))
    with pytest.raises(SegmentationError, match="friends_count"):
        UserSegmenter().fit(frame).predict(frame.drop(columns="friends_count"))
