"""RFM: the plain benchmark."""

import numpy as np
import pytest

from ml.segmentation import RfmSegmenter, SegmentationError


def test_fifths_and_names() -> None:
    random = np.random.default_rng(0)
    recency, frequency, amount = (
        random.integers(0, 365, 5_000),
        random.poisson(30, 5_000) + 1,
        random.lognormal(3, 1, 5_000),
    )
    rfm = RfmSegmenter().fit(recency, frequency, amount)
    scores = rfm.scores(recency, frequency, amount)
    assert scores["amount"].value_counts(normalize=True).to_numpy() == pytest.approx(0.2, abs=0.01)
    assert rfm.predict([1], [60], [1e5]).tolist() == ["Champions"]
    assert rfm.predict([360], [60], [1e5]).tolist() == ["Cannot lose them"]
    assert rfm.predict([360], [1], [1]).tolist() == ["Lost"]
    assert rfm.predict([1], [1], [1]).tolist() == ["New"]


def test_who_never_paid_has_a_name_and_nobody_paid_is_no_error() -> None:
    rfm = RfmSegmenter().fit([10, np.nan], [2, 0], [20, np.nan])
    assert rfm.predict([np.nan, np.nan], [0, np.nan], [np.nan, 0]).tolist() == ["Never paid", "Never paid"]
    assert RfmSegmenter().fit([np.nan], [0], [0]).predict([np.nan], [0], [0]).tolist() == ["Never paid"]


def test_a_user_is_judged_alone_and_state_is_kept() -> None:
    random = np.random.default_rng(1)
    table = random.integers(1, 100, (3, 400)).astype(float)
    rfm = RfmSegmenter().fit(*table)
    rebuilt = RfmSegmenter.from_state(rfm.to_state())
    alone = [rebuilt.predict(*table[:, [user]])[0] for user in range(400)]
    assert alone == rfm.predict(*table).tolist()


def test_errors_say_what_to_do() -> None:
    with pytest.raises(SegmentationError, match="fit first"):
        RfmSegmenter().predict([1], [1], [1])
    with pytest.raises(SegmentationError, match="same users"):
        RfmSegmenter().fit([1, 2], [1], [1])
