"""Pictures of segments, each with the data behind it, so that a dashboard can draw them again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ml.segmentation.naming import in_words
from ml.segmentation.profiles import SegmentProfile
from ml.segmentation.rules import number_in_words
from ml.segmentation.segmenter import UserSegmenter

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito: told apart by colour-blind readers too.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
_MOST_POINTS = 4_000


def scatter_data(
    segmenter: UserSegmenter, frame: pd.DataFrame, segments: np.ndarray, *, random_state: int = 0
) -> pd.DataFrame:
    """Up to a few thousand users in the two main components: columns first, second, segment."""
    rows = np.arange(len(frame))
    if len(rows) > _MOST_POINTS:
        rows = np.sort(np.random.default_rng(random_state).choice(rows, _MOST_POINTS, replace=False))
    places = segmenter.project(frame.iloc[rows])
    return pd.DataFrame(
        {"first": places[:, 0], "second": places[:, 1], "segment": np.asarray(segments, dtype=object)[rows]}
    )


def scatter_figure(data: pd.DataFrame) -> Figure:
    """Draw `scatter_data`: one colour a segment, its name at its middle."""
    figure = _figure(9, 6)
    axes = figure.subplots()
    colours = _colours(data["segment"])
    for segment, users in data.groupby("segment", sort=True):
        colour = colours[str(segment)]
        axes.scatter(users["first"], users["second"], s=6, alpha=0.4, color=colour, linewidths=0)
        axes.annotate(
            str(segment),
            (users["first"].median(), users["second"].median()),
            ha="center",
            weight="bold",
            color=colour,
            bbox={"boxstyle": "round", "facecolor": "white", "alpha": 0.8, "edgecolor": colour},
        )
    axes.set(title="Segments of users", xlabel="first component", ylabel="second component")
    return figure


def profile_data(profiles: Sequence[SegmentProfile]) -> pd.DataFrame:
    """Medians of the main features: columns segment, share, feature, median and relative.

    `relative` is where the segment's median stands between the smallest (0) and the largest (1) of all segments.
    """
    rows = [
        {"segment": profile.segment, "share": profile.share, "feature": in_words(feature), "median": median}
        for profile in profiles
        for feature, median in profile.medians.items()
    ]
    data = pd.DataFrame(rows, columns=["segment", "share", "feature", "median"]).astype({"median": float})
    by_feature = data.groupby("feature")["median"]
    smallest, span = by_feature.transform("min"), by_feature.transform("max") - by_feature.transform("min")
    data["relative"] = ((data["median"] - smallest) / span.where(span > 0)).fillna(0.0)
    return data


def profile_figure(data: pd.DataFrame) -> Figure:
    """Draw `profile_data`: one panel a segment, one bar a feature, the median written on it."""
    segments = list(dict.fromkeys(data["segment"]))
    figure = _figure(9, max(2.0, 1.9 * len(segments)))
    panels = figure.subplots(max(len(segments), 1), 1, squeeze=False)[:, 0]
    colours = _colours(segments)
    for segment, axes in zip(segments, panels, strict=False):
        bars = data[data["segment"] == segment].iloc[::-1]
        axes.barh(bars["feature"], bars["relative"], color=colours[segment])
        for place, (relative, median) in enumerate(zip(bars["relative"], bars["median"], strict=True)):
            text = "none" if np.isnan(median) else number_in_words(median)
            axes.annotate(text, (relative, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
        axes.set_xlim(0, 1.15)
        axes.set_xticks([])
        axes.set_title(f"{segment} ({bars['share'].iloc[0]:.0%} of the users)", loc="left", fontsize=10)
        axes.tick_params(labelsize=8)
    return figure


def _figure(width: float, height: float) -> Figure:
    # Its import takes a second that only those pay who draw.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _colours(segments: Iterable[str]) -> dict[str, str]:
    """A colour for each segment, the same in every picture of the same segments."""
    return {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(sorted(set(segments)))}
