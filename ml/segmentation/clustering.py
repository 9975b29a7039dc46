"""Candidates for a partition of the users, and the choice among them by silhouette and stability."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import HDBSCAN, AgglomerativeClustering, KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.mixture import GaussianMixture

from ml.segmentation.assignment import Assigner, LikeliestGaussian, NearestCentre, NearestExample
from ml.segmentation.errors import SegmentationError

# In this order: of two equally good partitions the one of the simpler method is taken.
METHODS = ("kmeans", "gaussian_mixture", "agglomerative", "hdbscan")
# Qualities that differ by less than this share of the best are taken for equal.
TIE = 0.03
# Candidates are compared on this many users; memory and time grow with its square.
_COMPARED_USERS = 3_000
_HALVES = 4


@dataclass(frozen=True)
class Candidate:
    """A partition that was tried.

    Attributes:
        method: one of METHODS.
        count: number of clusters.
        silhouette: mean silhouette in the scaled space, -1 to 1; higher means better separated.
        stability: mean adjusted Rand index between this partition and those fitted on random halves, up to 1.
        smallest_share: share of users in the smallest cluster.
        assigner: tells the cluster of a point.
    """

    method: str
    count: int
    silhouette: float
    stability: float
    smallest_share: float
    assigner: Assigner

    @property
    def quality(self) -> float:
        """Separation that lasts: silhouette times stability (a partition that half of the users undo is worth half)."""
        return self.silhouette * self.stability if self.silhouette > 0 else self.silhouette


def fit_clusters(
    method: str, points: np.ndarray, count: int, *, random_state: int, start: np.ndarray | None = None
) -> Assigner | None:
    """Fit one method with `count` clusters (HDBSCAN finds its own count); None when it finds no partition.

    Args:
        method: one of METHODS.
        points: shape (users, dimensions), scaled.
        count: number of clusters, at most the number of distinct points.
        random_state: seed.
        start: centres to start k-means from, shape (count, dimensions).
    """
    if method == "kmeans":
        model = KMeans(
            count,
            init="k-means++" if start is None else start,
            n_init=4 if start is None else 1,
            random_state=random_state,
        ).fit(points)
        return NearestCentre(model.cluster_centers_)
    if method == "gaussian_mixture":
        mixture = GaussianMixture(
            count, covariance_type="diag", reg_covar=1e-3, random_state=random_state, max_iter=60, tol=1e-2
        ).fit(points)
        return LikeliestGaussian(mixture.means_, mixture.covariances_, mixture.weights_)
    if method == "agglomerative":
        clusters = AgglomerativeClustering(count, linkage="ward").fit_predict(points)
        return NearestCentre(np.stack([points[clusters == cluster].mean(axis=0) for cluster in range(count)]))
    if method == "hdbscan":
        clusters = HDBSCAN(min_cluster_size=max(5, len(points) // 50), copy=True).fit_predict(points)
        inside = clusters >= 0
        if clusters.max() < 1:
            return None
        return NearestExample(points[inside], clusters[inside])
    raise SegmentationError(f"Choose methods from {', '.join(METHODS)}; {method!r} is none of them.")


def compare_candidates(
    points: np.ndarray,
    methods: Sequence[str],
    counts: Sequence[int],
    *,
    random_state: int,
    extra: Sequence[Candidate] = (),
) -> list[Candidate]:
    """Try every method with every count on a sample; measure separation and stability of each.

    Args:
        points: shape (users, dimensions), scaled.
        methods: some of METHODS.
        counts: numbers of clusters to try.
        random_state: seed.
        extra: partitions from elsewhere to be measured beside them; only `method` and `assigner` are looked at.
    """
    generator = np.random.default_rng(random_state)
    if len(points) > _COMPARED_USERS:
        points = points[np.sort(generator.choice(len(points), _COMPARED_USERS, replace=False))]
    halves = [np.sort(generator.choice(len(points), max(2, len(points) // 2), replace=False)) for _ in range(_HALVES)]
    tried: list[Candidate] = []
    for method in methods:
        for count in counts[:1] if method == "hdbscan" else counts:
            assigner = fit_clusters(method, points, count, random_state=random_state)
            if assigner is None or (method == "hdbscan" and assigner.count not in counts):
                continue
            tried.append(_measure(method, points, assigner, halves, random_state=random_state))
    return tried + [
        _measure(other.method, points, other.assigner, halves, random_state=random_state) for other in extra
    ]


def choose_candidate(candidates: Sequence[Candidate], *, minimum_share: float) -> Candidate | None:
    """The best quality among candidates without dwarf clusters; ties: simpler method, then fewer clusters.

    Only when all have dwarf clusters are they taken in; None when there is no candidate at all.
    """
    sound = [candidate for candidate in candidates if np.isfinite(candidate.quality)]
    sound = [candidate for candidate in sound if candidate.smallest_share >= minimum_share] or sound
    if not sound:
        return None
    best = max(candidate.quality for candidate in sound)
    close = [candidate for candidate in sound if candidate.quality >= best - TIE * abs(best)]
    return min(close, key=lambda one: (METHODS.index(one.method), one.count, -one.quality))


def silhouette(points: np.ndarray, clusters: np.ndarray, *, random_state: int) -> float:
    """Mean silhouette on at most a few thousand users; -1 when there is no partition to speak of."""
    if len(points) > _COMPARED_USERS:
        rows = np.random.default_rng(random_state).choice(len(points), _COMPARED_USERS, replace=False)
        points, clusters = points[rows], clusters[rows]
    if not 1 < len(np.unique(clusters)) < len(points):
        return -1.0
    return float(silhouette_score(points, clusters))


def _measure(
    method: str, points: np.ndarray, assigner: Assigner, halves: Sequence[np.ndarray], *, random_state: int
) -> Candidate:
    clusters = assigner.assign(points)
    shares = np.bincount(clusters, minlength=assigner.count) / len(points)
    agreements = []
    for half in halves:
        again = fit_clusters(method, points[half], assigner.count, random_state=random_state)
        agreements.append(0.0 if again is None else adjusted_rand_score(clusters, again.assign(points)))
    return Candidate(
        method=method,
        count=assigner.count,
        silhouette=silhouette(points, clusters, random_state=random_state),
        stability=float(np.mean(agreements)),
        smallest_share=float(shares.min()),
        assigner=assigner,
    )
