"""What an event changes for a user: the mean shift of its type and a user's deviation from it.

Candidates for the deviation are judged by later moments of other users, "no effect" being one and the simplest. They
learn from what is left of the outcome once both arms' expectations are taken away, divided by how far the row's arm is
from its expectation. So an error in the expectation does not turn into an effect, and where assignment was randomised
nothing else has to be assumed.

Source: Nie and Wager (2021), Quasi-oracle estimation of heterogeneous treatment effects (the R-learner); here on the
log odds for chances, where effects on small and large chances are comparable and noise is weighted rightly.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from ml.response.examples import Examples
from ml.response.learners import BoostedLearner, BoostingSettings, Kind, Learner, LinearLearner, learner_from_state
from ml.response.metrics import uplift_metrics
from ml.response.selection import (
    FOLDS,
    Comparison,
    simplest_within_one_standard_error,
    time_slices,
    user_folds,
)
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

# Inactive users needed on both sides before users may differ in their effect.
MINIMUM_FOR_DEVIATIONS = 300
EVENT_TYPE = "event type"
# Feature with the money a user is expected to bring once back. Whom it pays to invite hangs on the effect on those who
# bring much, so the effect may vary with it before anything else, and errors count by it.
WORTH = "expected_money_if_back"
_DEVIATIONS = ("worth", "linear", "boosted")
_IMPORTANCE_BOUNDS = (0.2, 5.0)
_BAG = 5
_LARGEST_DEVIATION = 2.0


@dataclass(frozen=True)
class Shift:
    """Shift of each row on the link scale with its standard error, (rows,), and the evidence of the event type."""

    shift: np.ndarray
    standard_error: np.ndarray
    evidence: str


@dataclass(frozen=True)
class Deviation:
    """How users differ from the mean shift of a type: one learner for all types (boosted), or one a type (linear)."""

    shared: Learner | None
    by_type: Mapping[str, Learner]

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the deviation of each row (features joined with the type), on the link scale."""
        deviation = np.zeros(len(frame)) if self.shared is None else self.shared.predict(frame)
        types = frame[EVENT_TYPE].to_numpy(dtype=object)
        for name, learner in self.by_type.items():
            rows = types == name
            if rows.any():
                deviation[rows] += learner.predict(frame[rows])
        return np.clip(deviation, -_LARGEST_DEVIATION, _LARGEST_DEVIATION)

    def to_state(self) -> dict[str, Any]:
        """Return everything learned as arrays, JSON values and model bytes."""
        by_type = [{"event_type": name, "learner": learner.to_state()} for name, learner in self.by_type.items()]
        return {"shared": None if self.shared is None else self.shared.to_state(), "by_type": by_type}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Deviation":
        """Rebuild from `to_state`."""
        by_type = {part["event_type"]: learner_from_state(part["learner"]) for part in state["by_type"]}
        return cls(None if state["shared"] is None else learner_from_state(state["shared"]), by_type)


@dataclass(frozen=True)
class UpliftModel:
    """The chosen model of the effect.

    Attributes:
        chosen: "none", "types", "worth", "linear" or "boosted".
        pooled: mean effect over all types; for types never seen its error holds the spread between types.
        types: mean effect by event type.
        deviations: models of a user's deviation from the mean of the type, whose mean is used; may be empty.
        slope: factor on that deviation, learned on later rows (1 = taken at its word, 0 = ignored).
        comparison: how the candidates did; None where there was too little to compare.
        metrics: Qini and area under the uplift curve on later randomised rows of other users, where there are any.
    """

    chosen: str
    pooled: TypeEffect
    types: Mapping[str, TypeEffect]
    deviations: tuple[Deviation, ...]
    slope: float
    comparison: Comparison | None
    metrics: Mapping[str, float] = field(default_factory=dict)

    def predict(self, features: pd.DataFrame, event_features: pd.DataFrame, event_type: str) -> Shift:
        """Return the shift that an event of this type makes for each user."""
        rows = len(features)
        mean = self.types.get(event_type, self.pooled)
        evidence = mean.evidence if event_type in self.types else "insufficient"
        errors = np.full(rows, mean.standard_error)
        if self.chosen == "none":
            return Shift(np.zeros(rows), errors, evidence)
        shift = np.full(rows, mean.effect)
        if self.deviations:
            frame = with_type(features, event_features, np.full(rows, event_type, dtype=object))
            votes = np.stack([deviation.predict(frame) for deviation in self.deviations])
            shift = shift + self.slope * votes.mean(axis=0)
            errors = np.sqrt(errors**2 + self.slope**2 * votes.var(axis=0, ddof=1))
        return Shift(shift, errors, evidence)

    def to_state(self) -> dict[str, Any]:
        """Return everything learned as arrays, JSON values and model bytes."""
        return {
            "chosen": self.chosen,
            "pooled": vars(self.pooled),
            "types": [{"event_type": name, **vars(effect)} for name, effect in self.types.items()],
            "deviations": [deviation.to_state() for deviation in self.deviations],
            "slope": self.slope,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "UpliftModel":
        """Rebuild the predicting parts from `to_state`."""
        types = {
            part["event_type"]: TypeEffect(**{name: value for name, value in part.items() if name != "event_type"})
            for part in state["types"]
        }
        return cls(
            chosen=state["chosen"],
            pooled=TypeEffect(**state["pooled"]),
            types=types,
            deviations=tuple(Deviation.from_state(part) for part in state["deviations"]),
            slope=float(state["slope"]),
            comparison=None,
        )


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
        return UpliftModel("none", nothing, types, (), 0.0, None)
    usable = examples.take(keep)
    frame = with_type(usable.features, usable.event_features, usable.event_types)
    propensity = propensities(usable, frame, random_state=random_state)
    compared = Compared(usable, expected[keep], propensity, _importance(frame))
    every = np.ones(len(usable), dtype=bool)
    pooled, types = type_effects(kind, compared, every, evidence, unknown)
    for name in event_types(examples):
        if name not in types:
            types[name] = TypeEffect(pooled.effect, unknown, "insufficient", *count_sides(examples, name))
    sides = usable.is_exposed.sum(), (~usable.is_exposed).sum()
    # Money after a return is too noisy, and returns too few, to tell whose payments an event moves more.
    names: tuple[str, ...] = ()
    if kind == "chance" and min(sides) >= MINIMUM_FOR_DEVIATIONS:
        names = tuple(name for name in _DEVIATIONS if name != "worth" or WORTH in frame)
    seeds = {"thread_count": thread_count, "random_state": random_state}
    comparison, slope, metrics = _compare(kind, compared, frame, evidence, unknown, names, **seeds)
    bag = _fit_bag(kind, comparison.chosen, compared, frame, types, **seeds) if comparison.chosen in names else ()
    return UpliftModel(comparison.chosen, pooled, types, bag, slope, comparison, metrics)


def with_type(features: pd.DataFrame, event_features: pd.DataFrame, types: np.ndarray) -> pd.DataFrame:
    """Join user features, features towards the event type and the type itself into one frame."""
    joined = pd.concat([features.reset_index(drop=True), event_features.reset_index(drop=True)], axis=1)
    return joined.assign(**{EVENT_TYPE: pd.Series(types.astype(str), dtype="str")})


def _compare(
    kind: Kind,
    compared: Compared,
    frame: pd.DataFrame,
    evidence: Mapping[str, str],
    unknown: float,
    deviations: tuple[str, ...],
    *,
    thread_count: int,
    random_state: int,
) -> tuple[Comparison, float, dict[str, float]]:
    """Judge the candidates on later rows of other users; also learn how far to trust the deviations."""
    examples = compared.examples
    slices = time_slices(examples.reference_days, later_share=0.15, last_share=0.15)
    judged = ~slices.earlier if slices.is_out_of_time else slices.later
    folds = user_folds(examples.user_ids, random_state)
    names = ("none", "types", *deviations)
    shifts = {name: np.full(len(examples), np.nan) for name in names}
    shifts["none"][:] = 0.0
    for fold in range(FOLDS):
        rows, others = slices.earlier & (folds != fold), judged & (folds == fold)
        if not rows.any() or not others.any():
            continue
        _, types = type_effects(kind, compared, rows, evidence, unknown)
        level = _level(examples, types)
        shifts["types"][others] = level[others]
        for name in deviations:
            learned = _fit_deviation(
                kind, name, compared, frame, level, rows, None, thread_count=thread_count, random_state=random_state
            )
            shifts[name][others] = level[others] + learned.predict(frame[others])
    judged &= np.isfinite(shifts["types"])
    # Randomised rows are the arbiter where there are enough of them: there the comparison needs no assumption.
    randomised = judged & examples.is_randomised
    if min((randomised & examples.is_exposed).sum(), (randomised & ~examples.is_exposed).sum()) >= MINIMUM_EACH_SIDE:
        judged = randomised
    if not judged.any():
        return Comparison("none", {"none": 0.0}, {"none": 0.0}, {"none": 0.0}), 0.0, {}
    importance = compared.importance
    level = shifts["types"].copy()
    slopes = {}
    for name in deviations:
        deviation = shifts[name] - level
        slopes[name] = _slope(kind, compared, level, deviation, importance, judged)
        for fold in range(FOLDS):
            # How far to trust a deviation is learned on other users than those it is judged by.
            others = judged & (folds != fold)
            factor = _slope(kind, compared, level, deviation, importance, others if others.any() else judged)
            shifts[name] = np.where(folds == fold, level + factor * deviation, shifts[name])
    losses = {name: _loss(kind, compared, level, shifts[name])[judged] for name in names}
    comparison = simplest_within_one_standard_error(losses, names, examples.user_ids[judged], importance[judged])
    # Mean effects are one figure a type and cannot be learned by heart: whether there are any is tested on all rows.
    if not are_effects_shown(kind, compared, evidence):
        comparison = replace(comparison, chosen="none")
    elif comparison.chosen == "none":
        comparison = replace(comparison, chosen="types")
    metrics: dict[str, float] = {}
    if kind == "chance" and examples.is_randomised[judged].all():
        start = link(kind, compared.expected)
        change = inverse_link(kind, start + shifts[comparison.chosen]) - compared.expected
        arm = np.where(examples.is_exposed, compared.propensity, 1 - compared.propensity)
        metrics = uplift_metrics(
            examples.outcome[judged],
            examples.is_exposed[judged],
            change[judged],
            1 / arm[judged],
            examples.user_ids[judged],
            random_state=random_state,
        )
    return comparison, slopes.get(comparison.chosen, 0.0), metrics


def _importance(frame: pd.DataFrame) -> np.ndarray:
    """Weight of a row's error: the user's expected money over its mean, within bounds; 1 where it is not known."""
    if WORTH not in frame:
        return np.ones(len(frame))
    worth = frame[WORTH].to_numpy(dtype=np.float64, na_value=0.0)
    return np.clip(worth / max(worth.mean(), 1e-12), *_IMPORTANCE_BOUNDS)


def _loss(kind: Kind, compared: Compared, reference: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Squared distance of the outcome from its expectation under a shift, in units of its variance, (rows,).

    `reference` is the shift that fixes the expectation over both arms, the same for every candidate.
    """
    alone = compared.expected
    start = link(kind, alone)
    reference_change = inverse_link(kind, start + reference) - alone
    mean = alone + compared.propensity * reference_change
    change = inverse_link(kind, start + shift) - alone
    away = compared.examples.is_exposed - compared.propensity
    scale = np.maximum(variance(kind, mean), 1e-3) if kind == "chance" else np.ones(len(mean))
    return (compared.examples.outcome - mean - away * change) ** 2 / scale


def _residuals(kind: Kind, compared: Compared, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is left of the outcome after the mean shift of the type, as target and weight of a deviation, (rows,)."""
    examples = compared.examples
    start = link(kind, compared.expected)
    chance = inverse_link(kind, start + np.where(examples.is_exposed, level, 0.0))
    away = examples.is_exposed - compared.propensity
    speed = np.maximum(variance(kind, chance), 1e-3)
    return (examples.outcome - chance) / (speed * away), speed * away**2


def _slope(
    kind: Kind,
    compared: Compared,
    level: np.ndarray,
    deviation: np.ndarray,
    importance: np.ndarray,
    judged: np.ndarray,
) -> float:
    """Factor on the deviations that fits later rows best, within 0 and 1.5."""
    target, weight = _residuals(kind, compared, level)
    weight, deviation = (weight * importance)[judged], deviation[judged]
    spread = float((weight * deviation**2).sum())
    fitted = float((weight * deviation * target[judged]).sum() / spread) if spread > 0 else 0.0
    return round(float(np.clip(fitted, 0.0, 1.5)), 9)


def _fit_deviation(
    kind: Kind,
    name: str,
    compared: Compared,
    frame: pd.DataFrame,
    level: np.ndarray,
    rows: np.ndarray,
    draws: np.ndarray | None,
    *,
    thread_count: int,
    random_state: int,
) -> Deviation:
    target, weight = _residuals(kind, compared, level)
    if draws is not None:
        weight, rows = weight * draws, rows & (draws > 0)
    if name == "boosted":
        # The penalties are on the scale of the link: a leaf or coefficient is believed as far as its rows speak.
        settings = BoostingSettings(iterations=100, depth=3, learning_rate=0.05, l2_leaf_reg=100.0, subsample=0.6)
        learner: Learner = BoostedLearner("difference", settings, thread_count=thread_count, random_state=random_state)
        return Deviation(learner.fit(frame[rows], target[rows], weight[rows]), {})
    by_type: dict[str, Learner] = {}
    for event_type in event_types(compared.examples):
        of_type = rows & (compared.examples.event_types == event_type)
        if of_type.sum() >= MINIMUM_FOR_DEVIATIONS:
            linear = LinearLearner("difference", penalty=300.0, minimum_evidence=2.0)
            columns = frame
            if name == "worth":
                linear, columns = LinearLearner("difference", penalty=10.0), frame[[WORTH]]
            by_type[event_type] = linear.fit(columns[of_type], target[of_type], weight[of_type])
    return Deviation(None, by_type)


def _fit_bag(
    kind: Kind,
    name: str,
    compared: Compared,
    frame: pd.DataFrame,
    types: Mapping[str, TypeEffect],
    *,
    thread_count: int,
    random_state: int,
) -> tuple[Deviation, ...]:
    """Fit on bootstrap samples of users: the mean is steadier than one fit, the spread is its error."""
    examples = compared.examples
    generator = np.random.default_rng(random_state)
    codes = np.unique(examples.user_ids, return_inverse=True)[1]
    level, every = _level(examples, types), np.ones(len(examples), dtype=bool)
    bag = []
    for turn in range(_BAG):
        draws = generator.poisson(1.0, codes.max() + 1)[codes].astype(np.float64)
        seeds = {"thread_count": thread_count, "random_state": random_state + turn}
        bag.append(_fit_deviation(kind, name, compared, frame, level, every, draws, **seeds))
    return tuple(bag)


def _level(examples: Examples, types: Mapping[str, TypeEffect]) -> np.ndarray:
    """Mean shift of each row's type; 0 where the type is not known."""
    names, position = np.unique(examples.event_types.astype(str), return_inverse=True)
    return np.array([types[name].effect if name in types else 0.0 for name in names])[position]
