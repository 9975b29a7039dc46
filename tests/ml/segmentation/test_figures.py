"""The pictures of segments show every segment by name."""

import io

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgba

from ml.segmentation import UserSegmenter
from ml.segmentation.figures import profile_data, profile_figure, scatter_data, scatter_figure


def test_scatter_and_profiles() -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "friends_count": np.r_[random.poisson(2, 300), random.poisson(30, 300)],
            "sessions_count_90d": np.r_[random.poisson(40, 300), random.poisson(3, 300)],
        }
    )
    segmenter = UserSegmenter(min_segments=2, max_segments=3).fit(frame)
    segments = segmenter.predict(frame)
    points = scatter_data(segmenter, frame, segments)
    assert len(points) == 600
    assert set(points["segment"]) == set(segmenter.names_)
    texts = [text.get_text() for text in scatter_figure(points).axes[0].texts]
    assert sorted(texts) == sorted(segmenter.names_)
    drawn = {text.get_text(): text.get_color() for text in scatter_figure(points).axes[0].texts}
    bars = profile_data(segmenter.profiles_)
    assert bars["relative"].between(0, 1).all()
    figure = profile_figure(bars)
    assert len(figure.axes) == len(segmenter.names_)
    for segment, axes in zip(segmenter.names_, figure.axes, strict=True):
        assert axes.patches[0].get_facecolor() == to_rgba(drawn[segment]), "one colour a segment in all pictures"
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    assert buffer.getvalue().startswith(b"\x89PNG")


def test_one_user_can_be_drawn() -> None:
    frame = pd.DataFrame({"friends_count": [3.0]})
    segmenter = UserSegmenter().fit(frame)
    points = scatter_data(segmenter, frame, segmenter.predict(frame))
    assert len(points) == 1
    assert len(scatter_figure(points).axes[0].texts) == 1
    assert len(profile_figure(profile_data(segmenter.profiles_)).axes) == 1
