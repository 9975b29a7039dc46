"""The same kind of user keeps the same segment name: new clusters are matched to the segments of the last artefact."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

# Two segments are the same when they share at least half of the users of either (Jaccard index).
SAME = 0.5


@dataclass(frozen=True)
class RefitReport:
    """What a re-fit changed, as seen by the users it was fitted on.

    Attributes:
        moved_share: share of the users whose segment name is another one than before.
        kept: names that live on.
        added: names that are new.
        gone: names that no cluster answers to any more.
    """

    moved_share: float
    kept: tuple[str, ...]
    added: tuple[str, ...]
    gone: tuple[str, ...]


def match_clusters(
    clusters: np.ndarray, count: int, old_segments: np.ndarray, old_names: Sequence[str]
) -> list[str | None]:
    """The old name of each new cluster, or None where no old segment is the same.

    Args:
        clusters: new cluster of each user.
        count: number of new clusters.
        old_segments: old segment name of the same users.
        old_names: all old names.
    """
    overlap = np.zeros((count, len(old_names)))
    for column, name in enumerate(old_names):
        overlap[:, column] = np.bincount(clusters[old_segments == name], minlength=count)
    new_sizes = np.bincount(clusters, minlength=count)[:, None]
    old_sizes = np.array([(old_segments == name).sum() for name in old_names])[None, :]
    jaccard = overlap / np.maximum(new_sizes + old_sizes - overlap, 1)
    names: list[str | None] = [None] * count
    for new, old in zip(*linear_sum_assignment(-jaccard), strict=True):
        if jaccard[new, old] >= SAME:
            names[int(new)] = old_names[int(old)]
    return names
