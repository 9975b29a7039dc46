"""Names and words that marketing understands."""

import numpy as np
import pytest

from ml.segmentation.naming import in_words, name_segments, theme_of


@pytest.mark.parametrize(
    ("feature", "words"),
    [
        ("payments_count_90d", "number of payments in 90 days"),
        ("payments_amount_365d", "payments in 365 days"),
        ("friends_count", "number of friends"),
        ("weekend_share", "share of weekend"),
        ("days_since_last_contact", "days since the last contact"),
        ("contacts_count_life", "number of contacts so far"),
        ("video_view_interactions_count_90d", "number of video views in 90 days"),
        ("gaps_longest_days", "longest pause so far in days"),
        ("proline", "proline"),
    ],
)
def test_features_in_words(feature: str, words: str) -> None:
    assert in_words(feature) == words


def test_each_segment_gets_what_sets_it_apart_and_no_name_twice() -> None:
    features = ["payments_amount_365d", "friends_count", "weekend_share"]
    differences = np.array([[2.0, 0.1, 0.0], [1.5, 1.4, 0.0], [-0.3, -0.2, 1.0], [-0.1, 0.0, -0.1]])
    names = name_segments(differences, features)
    assert names == ["Former big spenders", "Social users", "Weekend visitors", "Typical users"]
    taken = name_segments(differences[:1], features, taken=["Former big spenders"])
    assert taken[0] != "Former big spenders"


def test_facts_about_payments_must_hold() -> None:
    differences = np.array([[0.4], [-0.4], [0.3]])
    names = name_segments(
        differences, ["days_since_last_activity"], never_paid=[False, True, False], paid_once=[False, False, True]
    )
    assert names == ["Long-gone users", "Users who never paid", "One-time payers"]


def test_more_segments_than_words_still_get_names() -> None:
    names = name_segments(np.zeros((6, 1)), ["friends_count"])
    assert len(set(names)) == 6


def test_days_since_a_contact_do_not_count_as_contacts() -> None:
    assert theme_of("days_since_last_contact").high == "Users not invited for long"
    assert theme_of("contacts_count_life").high == "Often invited users"
    assert theme_of("returns_without_contact_count").high == "Users who come and go"
    assert theme_of("days_since_last_payment is missing").high == "Users who never paid"
