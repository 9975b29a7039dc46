"""Figures of the literature on clustering: wine and iris, and why scaling is part of the model."""

import numpy as np
import pytest
from sklearn.datasets import load_iris, load_wine
from sklearn.metrics import adjusted_rand_score, silhouette_score

from ml.segmentation import UserSegmenter
from ml.segmentation.clustering import compare_candidates, fit_clusters


def test_wine_is_lost_without_scaling_and_found_with_it() -> None:
    wine = load_wine(as_frame=True)
    raw = wine.data.to_numpy()
    standardised = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    found = {}
    for name, points in (("raw", raw), ("standardised", standardised)):
        clusters = fit_clusters("kmeans", points, 3, random_state=0)
        assert clusters is not None
        found[name] = adjusted_rand_score(wine.target, clusters.assign(points))
    assert found["raw"] == pytest.approx(0.3711, abs=1e-4)
    assert found["standardised"] == pytest.approx(0.8975, abs=1e-4)
    clusters = fit_clusters("kmeans", standardised, 3, random_state=0)
    assert clusters is not None
    assert silhouette_score(standardised, clusters.assign(standardised)) == pytest.approx(0.2849, abs=1e-4)


def test_our_segmenter_finds_wine_as_it_comes() -> None:
    wine = load_wine(as_frame=True)
    segmenter = UserSegmenter(min_segments=2, random_state=0).fit(wine.data)
    segments = segmenter.predict(wine.data)
    assert len(segmenter.names_) == 3
    assert adjusted_rand_score(wine.target, segments) >= 0.89


def test_our_segmenter_does_not_care_for_units() -> None:
    wine = load_wine(as_frame=True)
    in_other_units = wine.data * np.logspace(-4, 4, wine.data.shape[1])
    first = UserSegmenter(min_segments=2, random_state=0).fit(wine.data).predict(wine.data)
    second = UserSegmenter(min_segments=2, random_state=0).fit(in_other_units).predict(in_other_units)
    assert adjusted_rand_score(first, second) == pytest.approx(1.0)


def test_iris() -> None:
    points = load_iris().data
    clusters = fit_clusters("kmeans", points, 3, random_state=0)
    assert clusters is not None
    members = clusters.assign(points)
    inertia = sum(
        ((points[members == number] - points[members == number].mean(axis=0)) ** 2).sum() for number in range(3)
    )
    assert inertia == pytest.approx(78.8514, abs=1e-4)
    candidates = compare_candidates(points, ["kmeans"], [3], random_state=0)
    assert candidates[0].silhouette == pytest.approx(0.5528, abs=1e-4)
