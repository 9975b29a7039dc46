"""Means of segments: what a user is told when no model can be used."""

import numpy as np
import pandas as pd
import pytest

from ml.pipelines.segment_means import SegmentMeans


def letters(frame: pd.DataFrame) -> np.ndarray:
    return frame["letter"].to_numpy(dtype=object)


def test_a_segment_with_many_rows_gets_its_own_mean_and_one_with_few_nearly_that_of_all() -> None:
    frame = pd.DataFrame({"letter": ["a"] * 6000 + ["b"] * 4000 + ["c"] * 4})
    outcome = np.zeros(len(frame))
    outcome[:600], outcome[6000:8000], outcome[-4:] = 1.0, 1.0, 1.0
    means = SegmentMeans("chance", letters).fit(frame, outcome)
    said = means.predict(pd.DataFrame({"letter": ["a", "b", "c", "never seen"]}))
    assert said[0] == pytest.approx(0.1, abs=0.002)
    assert said[1] == pytest.approx(0.5, abs=0.003)
    # Four of four returned: ten returns of all beside them leave little of it.
    assert said[3] == pytest.approx(2604 / 10004, abs=1e-4)
    assert said[3] < said[2] < said[3] + 0.1


def test_weights_count_and_amounts_are_drawn_to_the_mean_like_ten_payments() -> None:
    frame = pd.DataFrame({"letter": ["a", "a", "b", "b"]})
    means = SegmentMeans("amount", letters).fit(frame, np.array([1.0, 3.0, 10.0, 20.0]), np.array([1.0, 3.0, 2.0, 2.0]))
    overall = (1 + 9 + 20 + 40) / 8
    expected = [((1 + 9) / 2 + 10 * overall) / (2 + 10), ((20 + 40) / 2 + 10 * overall) / (2 + 10)]
    np.testing.assert_allclose(means.predict(pd.DataFrame({"letter": ["a", "b"]})), expected)
    assert means.predict(pd.DataFrame({"letter": []})).shape == (0,)
