"""Segments of users: found, named, explained, and assigned to anybody later without fitting again."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from ml.segmentation.assignment import Assigner, NearestCentre, assigner_from_state
from ml.segmentation.clustering import (
    METHODS,
    Candidate,
    choose_candidate,
    compare_candidates,
    fit_clusters,
    silhouette,
)
from ml.segmentation.errors import SegmentationError
from ml.segmentation.matching import RefitReport, match_clusters
from ml.segmentation.naming import name_segments, theme_of
from ml.segmentation.profiles import (
    SegmentProfile,
    differences_in_words,
    example_in_words,
    is_text,
    most_frequent,
    rule_in_words,
)
from ml.segmentation.rules import find_rules
from ml.segmentation.scaling import FeatureScaler, numeric_block

# A segment of fewer users than this is an anecdote; with few users there are few segments.
USERS_PER_SEGMENT = 10
# Share of the best quality that may be given up to keep the segments that people know by name.
_LOYALTY = 0.15
_MAIN_FEATURES = 8
# Among this many users of a segment, spread over all of them, there is one who is a good example.
_EXAMPLE_USERS = 20_000
_STATE_VERSION = 1


class UserSegmenter:
    """Finds segments among users and puts any user into one of them.

    Scaling, treatment of gaps and outliers, clusters, names and rules are learned together and saved together.
    A user's segment depends on the user's own features and on nothing else.

    Args:
        methods: candidates, of "kmeans", "gaussian_mixture", "agglomerative", "hdbscan".
        min_segments: smallest number of segments tried (fewer only when there are too few users).
        max_segments: largest number tried.
        minimum_share: a partition with a segment smaller than this is taken only when there is no other.
        fit_users: number of users, drawn at random, from whom is learned.
        random_state: seed.

    Learned names:
        names_: the segments' names, largest segment first.
        profiles_: one SegmentProfile a segment, of the users fitted on.
        candidates_: what was tried, a list of Candidate (empty after from_state).
        choice_: method, count, silhouette, stability and fidelity of what was chosen.
        refit_: RefitReport against `previous`, None without one.
    """

    def __init__(
        self,
        *,
        methods: Sequence[str] = METHODS,
        min_segments: int = 3,
        max_segments: int = 8,
        minimum_share: float = 0.02,
        fit_users: int = 20_000,
        random_state: int = 0,
    ) -> None:
        unknown = sorted(set(methods) - set(METHODS))
        if unknown or not methods:
            raise SegmentationError(f"Choose methods from {', '.join(METHODS)}; got {', '.join(unknown) or 'none'}.")
        if not 1 <= min_segments <= max_segments:
            raise SegmentationError(f"Set 1 <= min_segments <= max_segments; got {min_segments} and {max_segments}.")
        self.methods = tuple(methods)
        self.min_segments = min_segments
        self.max_segments = max_segments
        self.minimum_share = minimum_share
        self.fit_users = fit_users
        self.random_state = random_state
        self.names_: list[str] = []
        self.profiles_: tuple[SegmentProfile, ...] = ()
        self.candidates_: list[Candidate] = []
        self.choice_: dict[str, float | int | str] = {}
        self.refit_: RefitReport | None = None
        self.main_features_: list[str] = []

    def fit(self, frame: pd.DataFrame, *, previous: "UserSegmenter | None" = None) -> "UserSegmenter":
        """Learn segments.

        Args:
            frame: one row per user, features as columns; the index tells users apart and decides the order, so that
                the same users in another order give the same segments. Numeric and boolean columns make the segments,
                text columns only describe them, columns that end in _id, _at or _date are passed over.
            previous: the last artefact; segments that are still there keep their names.

        Raises:
            SegmentationError: when there is no user at all.
        """
        if len(frame) == 0:
            raise SegmentationError("Give at least one user: segments cannot be learned from none.")
        sample = self._sample(frame)
        # One thread: sums of several threads add up in changing order, and the same data must give the same segments.
        with threadpool_limits(limits=1):
            self._scaler = FeatureScaler().fit(sample)
            points = self._scaler.transform(sample)
            old_segments = None if previous is None else previous._predict_leniently(sample)
            self._assigner = self._find_clusters(points, old_segments)
            clusters = self._assigner.assign(points)
            self._name_and_explain(sample, points, clusters, old_segments, previous)
        self.profiles_ = self.describe(sample, np.asarray(self.names_, dtype=object)[clusters])
        return self

    @property
    def feature_names(self) -> frozenset[str]:
        """Names of the features that segments, their profiles and their pictures are made of."""
        return frozenset([*self._scaler.columns_, *self._scaler.gap_columns_, *self.main_features_])

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Segment name of each user, shape (users,), dtype object.

        Raises:
            SegmentationError: before `fit`, or when a column is missing that the segments were learned with.
        """
        self._check_is_fitted()
        names = np.asarray(self.names_, dtype=object)
        clusters = np.zeros(len(frame), dtype=np.int64)
        if len(self.names_) > 1:
            for rows, points in self._scaler.chunks(frame):
                clusters[rows] = self._assigner.assign(points)
        return names[clusters]

    def describe(self, frame: pd.DataFrame, segments: np.ndarray) -> tuple[SegmentProfile, ...]:
        """Profiles of the segments as they stand among these users, largest segment of the fit first.

        Args:
            frame: one row per user, as in `fit`.
            segments: what `predict` said of them.
        """
        self._check_is_fitted()
        segments = np.asarray(segments, dtype=object)
        raw = numeric_block(frame, self.main_features_)
        texts = [
            str(column)
            for column in frame.columns
            if not str(column).endswith(("_id", "_at", "_date")) and is_text(frame[column])
        ]
        spread = np.zeros(raw.shape[1])
        for column in range(raw.shape[1]):
            values = raw[:: len(raw) // _EXAMPLE_USERS + 1, column]
            values = values[~np.isnan(values)]
            spread[column] = np.subtract(*np.quantile(values, [0.75, 0.25])) if values.size else 0.0
        profiles = []
        for position, name in enumerate(self.names_):
            inside = np.flatnonzero(segments == name)
            medians: dict[str, float | None] = {}
            for column, feature in enumerate(self.main_features_):
                values = raw[inside, column]
                values = values[~np.isnan(values)]
                medians[feature] = float(np.median(values)) if values.size else None
            profiles.append(
                SegmentProfile(
                    segment=name,
                    size=len(inside),
                    share=len(inside) / max(len(frame), 1),
                    definition=self._definitions[position],
                    medians=medians,
                    typical={text: most_frequent(frame[text].iloc[inside]) for text in texts if len(inside)},
                    example=example_in_words(
                        raw[inside[:: len(inside) // _EXAMPLE_USERS + 1]], spread, self.main_features_
                    ),
                    precision=float(self._precisions[position]),
                    coverage=float(self._coverages[position]),
                )
            )
        return tuple(profiles)

    def project(self, frame: pd.DataFrame) -> np.ndarray:
        """The two main components of each user's scaled features for a scatter picture, shape (users, 2)."""
        self._check_is_fitted()
        points = self._scaler.transform(frame)[:, :2]
        return np.hstack([points, np.zeros((len(points), 2 - points.shape[1]))])

    def to_state(self) -> dict[str, Any]:
        """Everything learned, as arrays and JSON values."""
        self._check_is_fitted()
        return {
            "version": _STATE_VERSION,
            "settings": {
                "methods": list(self.methods),
                "min_segments": self.min_segments,
                "max_segments": self.max_segments,
                "minimum_share": self.minimum_share,
                "fit_users": self.fit_users,
                "random_state": self.random_state,
            },
            "names": list(self.names_),
            "definitions": list(self._definitions),
            "main_features": list(self.main_features_),
            "choice": dict(self.choice_),
            "precisions": np.asarray(self._precisions, dtype=float),
            "coverages": np.asarray(self._coverages, dtype=float),
            **{f"scaler.{key}": value for key, value in self._scaler.to_state().items()},
            **{f"assigner.{key}": value for key, value in self._assigner.to_state().items()},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "UserSegmenter":
        """Rebuild from `to_state`; profiles are made anew by `describe`."""
        if state.get("version") != _STATE_VERSION:
            raise SegmentationError("Fit the segments again: they were saved by another version of this program.")
        segmenter = cls(**state["settings"])
        segmenter.names_ = list(state["names"])
        segmenter.main_features_ = list(state["main_features"])
        segmenter.choice_ = dict(state["choice"])
        segmenter._definitions = list(state["definitions"])
        segmenter._precisions = np.asarray(state["precisions"], dtype=float)
        segmenter._coverages = np.asarray(state["coverages"], dtype=float)
        segmenter._scaler = FeatureScaler.from_state(_part(state, "scaler."))
        segmenter._assigner = assigner_from_state(_part(state, "assigner."))
        return segmenter

    def _sample(self, frame: pd.DataFrame) -> pd.DataFrame:
        order = np.argsort(frame.index.to_numpy(), kind="stable")
        if len(order) > self.fit_users:
            drawn = np.random.default_rng(self.random_state).choice(len(order), self.fit_users, replace=False)
            order = order[np.sort(drawn)]
        return frame.iloc[order]

    def _find_clusters(self, points: np.ndarray, old_segments: np.ndarray | None) -> Assigner:
        """Choose method and count, then fit on all users of the sample; clusters are ordered by size."""
        distinct = len(np.unique(points, axis=0)) if points.shape[1] else 1
        most = min(self.max_segments, len(points) // USERS_PER_SEGMENT, distinct)
        if most < 2:
            self.candidates_ = []
            self.choice_ = {"method": "one segment", "count": 1, "silhouette": 0.0, "stability": 1.0}
            return NearestCentre(points.mean(axis=0, keepdims=True))
        counts = list(range(min(max(self.min_segments, 2), most), most + 1))
        known = [] if old_segments is None else [self._carry_on(points, old_segments)]
        known = [assigner for assigner in known if assigner.count >= 2]
        self.candidates_ = compare_candidates(
            points,
            self.methods,
            counts,
            random_state=self.random_state,
            extra=[Candidate("kmeans", one.count, 0.0, 0.0, 0.0, one) for one in known],
        )
        chosen = choose_candidate(self.candidates_, minimum_share=self.minimum_share)
        if chosen is None:
            self.choice_ = {"method": "one segment", "count": 1, "silhouette": 0.0, "stability": 1.0}
            return NearestCentre(points.mean(axis=0, keepdims=True))
        if known and self.candidates_[-1].quality >= (1 - _LOYALTY) * chosen.quality:
            chosen = self.candidates_[-1]
            assigner = chosen.assigner
        else:
            assigner = self._refine(chosen, points)
        clusters = assigner.assign(points)
        self.choice_ = {
            "method": chosen.method,
            "count": assigner.count,
            "silhouette": silhouette(points, clusters, random_state=self.random_state),
            "stability": chosen.stability,
        }
        return _by_size(assigner, clusters)

    def _carry_on(self, points: np.ndarray, old_segments: np.ndarray) -> NearestCentre:
        """The old segments, their centres moved to where their users are now and let settle there."""
        names, members = np.unique(old_segments, return_inverse=True)
        centres = np.stack([points[members == number].mean(axis=0) for number in range(len(names))])
        settled = fit_clusters("kmeans", points, len(centres), random_state=self.random_state, start=centres)
        return settled if isinstance(settled, NearestCentre) else NearestCentre(centres)

    def _refine(self, chosen: Candidate, points: np.ndarray) -> Assigner:
        """Fit the chosen method again on the whole sample where it scales; else keep what the comparison found."""
        start = chosen.assigner.centres if isinstance(chosen.assigner, NearestCentre) else None
        refined: Assigner | None = chosen.assigner
        if chosen.method in ("kmeans", "gaussian_mixture"):
            refined = fit_clusters(chosen.method, points, chosen.count, random_state=self.random_state, start=start)
        return refined or chosen.assigner

    def _name_and_explain(
        self,
        sample: pd.DataFrame,
        points: np.ndarray,
        clusters: np.ndarray,
        old_segments: np.ndarray | None,
        previous: "UserSegmenter | None",
    ) -> None:
        count = self._assigner.count
        standardised = self._scaler.standardise(sample)
        # Whoever has no value does not differ by it.
        standardised[:, : len(self._scaler.columns_)][np.isnan(numeric_block(sample, self._scaler.columns_))] = 0.0
        differences = np.stack(
            [
                standardised[clusters == cluster].mean(axis=0)
                if (clusters == cluster).any()
                else 0.0 * self._scaler.weight_
                for cluster in range(count)
            ]
        ).reshape(count, len(self._scaler.spread_))
        kept: list[str | None] = [None] * count
        if previous is not None and old_segments is not None:
            kept = match_clusters(clusters, count, old_segments, previous.names_)
        old_names = [] if previous is None else previous.names_
        open_clusters = [cluster for cluster in range(count) if kept[cluster] is None]
        never_paid, paid_once = self._payment_facts(sample, clusters, count)
        fresh = name_segments(
            differences[open_clusters],
            self._scaler.spread_,
            taken=old_names,
            never_paid=[never_paid[cluster] for cluster in open_clusters],
            paid_once=[paid_once[cluster] for cluster in open_clusters],
        )
        for cluster, name in zip(open_clusters, fresh, strict=True):
            kept[cluster] = name
        self.names_ = [str(name) for name in kept]
        if old_segments is not None:
            now = np.asarray(self.names_, dtype=object)[clusters]
            self.refit_ = RefitReport(
                moved_share=float((now != old_segments).mean()),
                kept=tuple(name for name in self.names_ if name in old_names),
                added=tuple(name for name in self.names_ if name not in old_names),
                gone=tuple(name for name in old_names if name not in self.names_),
            )
        self._explain(sample, clusters, differences)

    def _explain(self, sample: pd.DataFrame, clusters: np.ndarray, differences: np.ndarray) -> None:
        count = self._assigner.count
        raw = numeric_block(sample, self._scaler.columns_)
        np.copyto(raw, self._scaler.fill_, where=np.isnan(raw))
        gaps = np.isnan(numeric_block(sample, self._scaler.gap_columns_)).astype(float)
        rules, fidelity = find_rules(
            np.hstack([raw, gaps]), self._scaler.spread_, clusters, count, random_state=self.random_state
        )
        self.choice_ = {**self.choice_, "fidelity": fidelity}
        self._precisions = np.array([rule.precision for rule in rules])
        self._coverages = np.array([rule.coverage for rule in rules])
        self._definitions = [
            rule_in_words(rule) or differences_in_words(differences[cluster], self._scaler.spread_)
            for cluster, rule in enumerate(rules)
        ]
        spread = (
            np.abs(differences[:, : len(self._scaler.columns_)]).max(axis=0)
            * self._scaler.weight_[: len(self._scaler.columns_)]
        )
        main: dict[str, str] = {}
        for position in np.argsort(-spread, kind="stable"):
            # One feature a theme: the longest window says it as well as the shortest.
            main.setdefault(theme_of(self._scaler.columns_[position]).high, self._scaler.columns_[position])
        self.main_features_ = list(main.values())[:_MAIN_FEATURES]

    def _payment_facts(self, sample: pd.DataFrame, clusters: np.ndarray, count: int) -> tuple[list[bool], list[bool]]:
        """Per segment: hardly anybody ever paid; whoever paid typically paid once. From the longest payments count."""
        counts = [column for column in self._scaler.columns_ if column.startswith("payments_count")]
        if not counts:
            return [False] * count, [False] * count
        total = np.nan_to_num(numeric_block(sample, counts)).max(axis=1)
        never, once = [], []
        for cluster in range(count):
            mine = total[clusters == cluster]
            payers = mine[mine > 0]
            never.append(bool(mine.size and (mine == 0).mean() >= 0.9))
            once.append(bool(payers.size > mine.size / 2 and np.quantile(payers, 0.75) <= 1))
        return never, once

    def _predict_leniently(self, frame: pd.DataFrame) -> np.ndarray:
        """Segments of users whose table may have lost columns since: what is not there counts as not known."""
        needed = [*self._scaler.columns_, *self._scaler.gap_columns_]
        return self.predict(frame.reindex(columns=list(dict.fromkeys(needed))))

    def _check_is_fitted(self) -> None:
        if not self.names_:
            raise SegmentationError("Call fit first: nothing was learned yet.")


def _by_size(assigner: Assigner, clusters: np.ndarray) -> Assigner:
    """The same clusters, the largest first."""
    sizes = np.bincount(clusters, minlength=assigner.count)
    order = np.argsort(-sizes, kind="stable")
    state = assigner.to_state()
    if state["kind"] == "example":
        position = np.empty(assigner.count, dtype=np.int64)
        position[order] = np.arange(assigner.count)
        return assigner_from_state({**state, "clusters": position[state["clusters"]]})
    return assigner_from_state({key: value if key == "kind" else value[order] for key, value in state.items()})


def _part(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
