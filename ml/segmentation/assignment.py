"""Ways to tell which cluster a point belongs to, each a small artefact of its own."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from ml.segmentation.errors import SegmentationError


class Assigner(Protocol):
    """Knows `count` clusters and assigns points to them, one by one."""

    count: int

    def assign(self, points: np.ndarray) -> np.ndarray:
        """Number of the cluster of each point, shape (points,)."""

    def to_state(self) -> dict[str, Any]:
        """Everything learned, as arrays and JSON values, with the key `kind`."""


class NearestCentre:
    """The nearest of the centres: k-means, and clusters that were found on a sample and are assigned by nearest."""

    def __init__(self, centres: np.ndarray) -> None:
        self.centres = np.asarray(centres, dtype=float)
        self.count = len(self.centres)

    def assign(self, points: np.ndarray) -> np.ndarray:
        """Number of the nearest centre; of equally near ones the first."""
        # |x|^2 is the same for every centre and can be left out.
        distances = points @ (-2.0 * self.centres.T)
        distances += (self.centres**2).sum(axis=1)
        return np.asarray(distances.argmin(axis=1))

    def to_state(self) -> dict[str, Any]:
        """Centres."""
        return {"kind": "centre", "centres": self.centres}


class LikeliestGaussian:
    """The component of a mixture with diagonal covariances under which the point is likeliest."""

    def __init__(self, means: np.ndarray, variances: np.ndarray, shares: np.ndarray) -> None:
        self.means = np.asarray(means, dtype=float)
        self.variances = np.asarray(variances, dtype=float)
        self.shares = np.asarray(shares, dtype=float)
        self.count = len(self.means)

    def assign(self, points: np.ndarray) -> np.ndarray:
        """Number of the likeliest component."""
        precision = 1.0 / self.variances
        # The squared distance (x - m)^2 / v is multiplied out, so that it is two matrix products.
        score = -0.5 * ((points**2) @ precision.T - 2.0 * points @ (self.means * precision).T)
        score += np.log(self.shares) - 0.5 * (
            np.log(self.variances).sum(axis=1) + (self.means**2 * precision).sum(axis=1)
        )
        return np.asarray(score.argmax(axis=1))

    def to_state(self) -> dict[str, Any]:
        """Means, variances and shares."""
        return {
            "kind": "gaussian",
            "means": self.means,
            "variances": self.variances,
            "shares": self.shares,
        }


class NearestExample:
    """The cluster of the nearest example: for clusters of any shape, which have no centre worth the name."""

    def __init__(self, examples: np.ndarray, clusters: np.ndarray) -> None:
        self.examples = np.asarray(examples, dtype=float)
        self.clusters = np.asarray(clusters, dtype=np.int64)
        self.count = int(self.clusters.max()) + 1

    def assign(self, points: np.ndarray) -> np.ndarray:
        """Cluster of the nearest example."""
        nearest = np.empty(len(points), dtype=np.int64)
        half_lengths = 0.5 * (self.examples**2).sum(axis=1)
        for start in range(0, len(points), 10_000):
            part = points[start : start + 10_000]
            nearest[start : start + 10_000] = (half_lengths - part @ self.examples.T).argmin(axis=1)
        return self.clusters[nearest]

    def to_state(self) -> dict[str, Any]:
        """Examples and their clusters."""
        return {"kind": "example", "examples": self.examples, "clusters": self.clusters}


def assigner_from_state(state: Mapping[str, Any]) -> Assigner:
    """Rebuild an assigner from its `to_state`."""
    kind = state["kind"]
    if kind == "centre":
        return NearestCentre(state["centres"])
    if kind == "gaussian":
        return LikeliestGaussian(state["means"], state["variances"], state["shares"])
    if kind == "example":
        return NearestExample(state["examples"], state["clusters"])
    raise SegmentationError(f"Fit the segments again: this version does not know clusters of kind {kind!r}.")
