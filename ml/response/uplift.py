"""What an event changes for a user: slopes shared by all types in part, and challengers that must beat them.

The main candidate is a logistic model of the randomised rows (`slopes.py`): the effect of an event on the log odds is
an intercept and slopes along few columns that sum up the features, in part common to all types and in part a type's
own, each shrunk by how much the data say such slopes spread. The row's chance without the event comes from the
baseline; an error in it does not turn into an effect, because exposure is centred at its chance.

"none" is kept unless the evidence for effects outweighs it clearly. Then the posterior mean is used as it is: shrunk
means are better in expectation than zero, however uncertain. S-, T-, X- and DR-learners take over only where later rows
of other users show them to be better beyond noise. docs/methods/response.md has the reasons.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ml.response.affinity import AFFINITY
from ml.response.examples import Examples
from ml.response.learned_effects import KINDS, LearnedEffect, fit_effect
from ml.response.learners import BoostedLearner, BoostingSettings, Kind, Learner
from ml.response.metrics import uplift_metrics
from ml.response.selection import Comparison, clustered_mean, time_slices, user_folds
from ml.response.shifts import (
    MINIMUM_EACH_SIDE,
    Compared,
    TypeEffect,
    are_effects_shown,
    comparable_rows,
    count_sides,
    event_types,
    inverse_link,
    link,
    propensities,
    type_effects,
    unknown_error,
    variance,
)
from ml.response.slopes import GroupedSlopes, fit_slopes
from ml.response.summary import FeatureSummary

# Inactive users needed on both sides before users may differ in their effect, and before boosted learners try.
MINIMUM_FOR_SLOPES = 300
MINIMUM_FOR_CHALLENGERS = 3000
# Log evidence by which effects must outweigh "none": with treatment shuffled fewer than 5 % of data sets exceed it
# (measured in tests/ml/response/test_shuffled_treatment.py).
EVIDENCE_NEEDED = 3.0
EVENT_TYPE = "event type"
# Feature with the money a user is expected to bring once back: effects may vary with it on their own terms.
WORTH = "expected_money_if_back"
_LARGEST_SHIFT = 3.0
_COMPARED_ROWS = 40_000


@dataclass(frozen=True)
class Shift:
    """Shift of each row on the link scale with its standard error, (rows,), and the evidence of the event type."""

    shift: np.ndarray
    standard_error: np.ndarray
    evidence: str


@dataclass(frozen=True)
class UserEffects:
    """How the effect differs between users.

    Attributes:
        summary: columns that the slopes and the challenger look at.
        slopes: posterior of the slopes.
        unexplained: spread between users that no feature shows, on the link. It cannot be measured: nobody is both
            invited and left alone. It is taken to be as large as the spread that the features do show.
        challenger: a learner that is used in place of the slopes' means.
    """

    summary: FeatureSummary
    slopes: GroupedSlopes
    unexplained: float
    challenger: LearnedEffect | None

    def to_state(self) -> dict[str, Any]:
        """Return everything learned as arrays, JSON values and model bytes."""
        return {
            "summary": self.summary.to_state(),
            "slopes": self.slopes.to_state(),
            "unexplained": self.unexplained,
            "challenger": None if self.challenger is None else self.challenger.to_state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "UserEffects":
        """Rebuild from `to_state`."""
        challenger = state["challenger"]
        return cls(
            FeatureSummary.from_state(state["summary"]),
            GroupedSlopes.from_state(state["slopes"]),
            float(state["unexplained"]),
            None if challenger is None else LearnedEffect.from_state(challenger),
        )


@dataclass(frozen=True)
class UpliftModel:
    """The chosen model of the effect.

    Attributes:
        chosen: "none", "types", "slopes" or the name of a challenger.
        pooled: mean effect over all types; for types never seen its error holds the spread between types.
        types: mean effect by event type.
        users: how users differ; None where only means are known.
        comparison: how the candidates did; None where there was too little to compare.
        metrics: Qini and area under the uplift curve on later randomised rows of other users, where there are any.
    """

    chosen: str
    pooled: TypeEffect
    types: Mapping[str, TypeEffect]
    users: UserEffects | None
    comparison: Comparison | None
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def uses_features(self) -> bool:
        """Whether predictions look at features at all."""
        return self.users is not None

    def predict(
        self, features: pd.DataFrame, event_features: pd.DataFrame, event_type: str, expected: np.ndarray
    ) -> Shift:
        """Return the shift that an event of this type makes for each user; `expected` is the outcome without it."""
        rows = len(features)
        mean = self.types.get(event_type, self.pooled)
        evidence = mean.evidence if event_type in self.types else "insufficient"
        if self.users is None:
            return Shift(
                np.full(rows, 0.0 if self.chosen == "none" else mean.effect), np.full(rows, mean.standard_error), evidence
            )
        users = self.users
        matrix = users.summary.to_matrix(with_type(features, event_features, np.full(rows, event_type, dtype=object)))
        shift, error = users.slopes.predict(matrix, event_type)
        error = np.hypot(error, users.unexplained)
        if evidence == "insufficient":
            error = np.maximum(error, mean.standard_error)
        if self.chosen == "none":
            shift = np.zeros(rows)
        elif users.challenger is not None:
            shift = shift_of(expected, users.challenger.predict(_typed(matrix, np.full(rows, event_type))))
        return Shift(np.clip(shift, -_LARGEST_SHIFT, _LARGEST_SHIFT), error, evidence)

    def to_state(self) -> dict[str, Any]:
        """Return everything learned as arrays, JSON values and model bytes."""
        return {
            "chosen": self.chosen,
            "pooled": vars(self.pooled),
            "types": [{"event_type": name, **vars(effect)} for name, effect in self.types.items()],
            "users": None if self.users is None else self.users.to_state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "UpliftModel":
        """Rebuild the predicting parts from `to_state`."""
        types = {
            part["event_type"]: TypeEffect(**{name: value for name, value in part.items() if name != "event_type"})
            for part in state["types"]
        }
        users = None if state["users"] is None else UserEffects.from_state(state["users"])
        return cls(state["chosen"], TypeEffect(**state["pooled"]), types, users, comparison=None)


def fit_uplift(
    kind: Kind, examples: Examples, expected: np.ndarray, *, thread_count: int = 1, random_state: int = 0
) -> UpliftModel:
    """Learn what events change.

    Args:
        kind: kind of the outcome ("chance" or "amount").
        examples: moments of inactive users; those without an event, or of types with too few, are left out.
        expected: outcome expected of each row if left alone, by a model that has not seen its user, (rows,).
        thread_count: threads of the boosted learners.
        random_state: seed.
    """
    keep, evidence = comparable_rows(examples)
    unknown = unknown_error(kind, examples.outcome)
    if not evidence:
        nothing = TypeEffect(0.0, unknown, "insufficient", 0, 0)
        types = {
            name: TypeEffect(0.0, unknown, "insufficient", *count_sides(examples, name))
            for name in event_types(examples)
        }
        return UpliftModel("none", nothing, types, None, None)
    usable = examples.take(keep)
    frame = with_type(usable.features, usable.event_features, usable.event_types)
    propensity = propensities(usable, frame, random_state=random_state)
    compared = Compared(usable, expected[keep], propensity, np.ones(len(usable)))
    pooled, types = type_effects(kind, compared, np.ones(len(usable), dtype=bool), evidence, unknown)
    for name in event_types(examples):
        if name not in types:
            types[name] = TypeEffect(pooled.effect, unknown, "insufficient", *count_sides(examples, name))
    sides = min(int(usable.is_exposed.sum()), int((~usable.is_exposed).sum()))
    # Money after a return is too noisy, and returns too few, to tell whose payments an event moves more.
    if kind != "chance" or sides < MINIMUM_FOR_SLOPES:
        chosen = "types" if are_effects_shown(kind, compared, evidence) else "none"
        return UpliftModel(chosen, pooled, types, None, None)
    summary = FeatureSummary((AFFINITY, WORTH))
    matrix = summary.fit_matrix(frame, leave_out=(EVENT_TYPE,))
    every = np.ones(len(usable), dtype=bool)
    offset, slopes = _fit_slopes(compared, summary, matrix, every)
    shift, _ = _predict_groups(slopes, matrix, usable.event_types)
    users = UserEffects(summary, slopes, round(float(shift.std()), 9), None)
    if slopes.evidence < EVIDENCE_NEEDED:
        return UpliftModel("none", pooled, types, users, None)
    judged = _Judged(compared, summary, matrix, evidence, unknown, thread_count, random_state)
    randomised = usable.is_exposed[usable.is_randomised]
    is_enough = min(randomised.sum(), (~randomised).sum()) >= MINIMUM_FOR_CHALLENGERS
    challengers = KINDS if is_enough else ()
    comparison, metrics = judged.compare(challengers)
    if comparison is not None and comparison.chosen in challengers:
        rows = inverse_link("chance", offset)
        challenger = _fit_challenger(comparison.chosen, compared, rows, matrix, every, thread_count, random_state)
        users = UserEffects(summary, slopes, users.unexplained, challenger)
    return UpliftModel(comparison.chosen if comparison else "slopes", pooled, types, users, comparison, metrics)


def with_type(features: pd.DataFrame, event_features: pd.DataFrame, types: np.ndarray) -> pd.DataFrame:
    """Join user features, features towards the event type and the type itself into one frame."""
    joined = pd.concat([features.reset_index(drop=True), event_features.reset_index(drop=True)], axis=1)
    return joined.assign(**{EVENT_TYPE: pd.Series(types.astype(str), dtype="str")})


def shift_of(expected: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """Return the shift of the log odds that moves chances by a difference."""
    inside = np.clip(expected + difference, 1e-4, 1 - 1e-4)
    return link("chance", inside) - link("chance", expected)


def _fit_slopes(
    compared: Compared, summary: FeatureSummary, matrix: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, GroupedSlopes]:
    """Return log odds of every row over both arms, and the slopes of the effect, learned from some rows (a mask)."""
    examples, blocks = compared.examples, summary.blocks()
    start = link("chance", compared.expected)
    # What the baseline misses among these rows, in either arm: without it, it would be noise of the effects.
    missed = fit_slopes(
        matrix[rows],
        start[rows],
        examples.outcome[rows],
        np.ones(int(rows.sum())),
        np.full(int(rows.sum()), ""),
        blocks,
        has_own_slopes=False,
    )
    offset = start + missed.predict(matrix, "")[0]
    contrast = examples.is_exposed - compared.propensity
    slopes = fit_slopes(
        matrix[rows],
        offset[rows],
        examples.outcome[rows],
        contrast[rows],
        examples.event_types[rows].astype(str),
        blocks,
    )
    return offset, slopes


def _predict_groups(slopes: GroupedSlopes, matrix: np.ndarray, types: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and error of the shift for rows of any types."""
    shift, error = np.zeros(len(matrix)), np.zeros(len(matrix))
    for name in np.unique(types.astype(str)):
        rows = types == name
        shift[rows], error[rows] = slopes.predict(matrix[rows], name)
    return shift, error


def _typed(matrix: np.ndarray, types: np.ndarray) -> pd.DataFrame:
    """The columns as a frame with the event type, for learners of frames."""
    frame = pd.DataFrame(matrix, columns=[f"column {position}" for position in range(matrix.shape[1])])
    return frame.assign(**{EVENT_TYPE: pd.Series(types.astype(str), dtype="str")})


def _fit_challenger(
    kind: str,
    compared: Compared,
    alone: np.ndarray,
    matrix: np.ndarray,
    rows: np.ndarray,
    thread_count: int,
    random_state: int,
) -> LearnedEffect:
    examples = compared.examples

    def base(outcome_kind: Kind) -> Learner:
        settings = BoostingSettings(iterations=80, depth=3, learning_rate=0.05, l2_leaf_reg=100.0, subsample=0.6)
        return BoostedLearner(outcome_kind, settings, thread_count=thread_count, random_state=random_state)

    return fit_effect(
        kind,
        _typed(matrix[rows], examples.event_types[rows]),
        examples.outcome[rows],
        examples.is_exposed[rows],
        compared.propensity[rows],
        alone[rows],
        "chance",
        base,
    )


@dataclass(frozen=True)
class _Judged:
    """Candidates are judged on later rows of other users; randomised rows are the arbiter where there are enough."""

    compared: Compared
    summary: FeatureSummary
    matrix: np.ndarray
    evidence: Mapping[str, str]
    unknown: float
    thread_count: int
    random_state: int

    def compare(self, challengers: tuple[str, ...]) -> tuple[Comparison | None, dict[str, float]]:
        """Return how the candidates did, and the uplift metrics of the one chosen."""
        examples = self.compared.examples
        slices = time_slices(examples.reference_days, later_share=0.15, last_share=0.15)
        judged = ~slices.earlier if slices.is_out_of_time else slices.later
        folds = user_folds(examples.user_ids, self.random_state, 2)
        # All candidates learn from the same part of the users: more rows would cost minutes.
        share = min(1.0, _COMPARED_ROWS / max(1, int(slices.earlier.sum())))
        earlier = slices.earlier & (user_folds(examples.user_ids, self.random_state + 2, 256) < max(1, 256 * share))
        names = ("none", "types", "slopes", *challengers)
        shifts = {name: np.full(len(examples), np.nan) for name in names}
        shifts["none"][:] = 0.0
        for fold in range(2):
            rows, others = earlier & (folds != fold), judged & (folds == fold)
            if rows.any() and others.any() and len(np.unique(examples.outcome[rows])) == 2:
                self._predict_others(shifts, rows, others, challengers)
        judged &= np.isfinite(shifts["slopes"])
        randomised = judged & examples.is_randomised
        if min((randomised & examples.is_exposed).sum(), (randomised & ~examples.is_exposed).sum()) >= MINIMUM_EACH_SIDE:
            judged = randomised
        if not judged.any():
            return None, {}
        losses = {name: _loss(self.compared, shifts["types"], shifts[name])[judged] for name in names}
        comparison = _beaten_by_more_than_noise("slopes", losses, examples.user_ids[judged])
        if not examples.is_randomised[judged].all():
            return comparison, {}
        alone = self.compared.expected
        change = inverse_link("chance", link("chance", alone) + shifts[comparison.chosen]) - alone
        arm = np.where(examples.is_exposed, self.compared.propensity, 1 - self.compared.propensity)
        metrics = uplift_metrics(
            examples.outcome[judged],
            examples.is_exposed[judged],
            change[judged],
            1 / arm[judged],
            examples.user_ids[judged],
            random_state=self.random_state,
        )
        return comparison, metrics

    def _predict_others(
        self, shifts: dict[str, np.ndarray], rows: np.ndarray, others: np.ndarray, challengers: tuple[str, ...]
    ) -> None:
        """Fill in what candidates that learned from `rows` say of `others`."""
        types_seen = self.compared.examples.event_types
        _, types = type_effects("chance", self.compared, rows, self.evidence, self.unknown)
        for name in np.unique(types_seen[others].astype(str)):
            of_type = others & (types_seen == name)
            shifts["types"][of_type] = types[name].effect if name in types else 0.0
        offset, slopes = _fit_slopes(self.compared, self.summary, self.matrix, rows)
        shifts["slopes"][others] = _predict_groups(slopes, self.matrix[others], types_seen[others])[0]
        alone = inverse_link("chance", offset)
        for kind in challengers:
            learned = _fit_challenger(
                kind, self.compared, alone, self.matrix, rows, self.thread_count, self.random_state
            )
            difference = learned.predict(_typed(self.matrix[others], types_seen[others]))
            shifts[kind][others] = shift_of(self.compared.expected[others], difference)


def _beaten_by_more_than_noise(champion: str, losses: Mapping[str, np.ndarray], user_ids: np.ndarray) -> Comparison:
    """Keep the champion unless another of the candidates that tell users apart is better by more than one error."""
    ones = np.ones(len(user_ids))
    means = {name: float(loss.mean()) for name, loss in losses.items()}
    differences, errors = {}, {}
    for name, loss in losses.items():
        differences[name], errors[name] = clustered_mean(loss - losses[champion], user_ids, ones)
    better = [name for name in losses if name in KINDS and differences[name] < -errors[name]]
    return Comparison(min(better, key=lambda name: means[name], default=champion), means, differences, errors)


def _loss(compared: Compared, reference: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Squared distance of the outcome from its expectation under a shift, in units of its variance, (rows,).

    `reference` is the shift that fixes the expectation over both arms, the same for every candidate.
    """
    alone = compared.expected
    start = link("chance", alone)
    mean = alone + compared.propensity * (inverse_link("chance", start + reference) - alone)
    change = inverse_link("chance", start + shift) - alone
    away = compared.examples.is_exposed - compared.propensity
    return (compared.examples.outcome - mean - away * change) ** 2 / np.maximum(variance("chance", mean), 1e-3)
