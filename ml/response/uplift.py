"""What an event changes: the difference it makes to a user's outcome, estimated without trusting one model.

Each past moment gets a doubly robust pseudo-outcome: right on average if either the outcome model or the assignment
model is right, and by design where assignment was randomised. Candidates for the effect are judged by how well they
predict the pseudo-outcomes of later moments of other users - "no effect" is a candidate, and the simplest one.

Sources: Kennedy (2023), Towards optimal doubly robust estimation of heterogeneous causal effects; Robins, Rotnitzky and
Zhao (1994) for the score; DerSimonian and Laird (1986) for the spread between event types.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ml.response.examples import Examples
from ml.response.learners import BoostedLearner, BoostingSettings, Kind, Learner, LinearLearner, learner_from_state
from ml.response.selection import (
    FOLDS,
    Comparison,
    clustered_mean,
    row_losses,
    simplest_within_one_standard_error,
    time_slices,
    user_folds,
)

# An estimated chance of being invited is never trusted beyond these; a weight of 1/0.03 lets one user speak for 33.
_PROPENSITY_BOUNDS = (0.03, 0.97)
# Inactive users needed on both sides before an effect of a type is more than an anecdote.
MINIMUM_EACH_SIDE = 50
# Inactive users needed on both sides before users may differ in their effect.
MINIMUM_FOR_DEVIATIONS = 300
EVENT_TYPE = "event type"
_BAG = 5


@dataclass(frozen=True)
class TypeEffect:
    """The mean effect of one event type: estimate and standard error after shrinking, and what it rests on."""

    effect: float
    standard_error: float
    evidence: str
    exposed: int
    comparisons: int


@dataclass(frozen=True)
class EffectPrediction:
    """Effect per row with its standard error, both float64 of shape (rows,), and the evidence of the event type."""

    effect: np.ndarray
    standard_error: np.ndarray
    evidence: str


@dataclass(frozen=True)
class UpliftModel:
    """The chosen model of the effect.

    Attributes:
        chosen: "none", "types", "linear" or "boosted".
        pooled: mean effect over all types; for types never seen its error holds the spread between types.
        types: mean effect by event type.
        deviations: models of a user's deviation from the mean of the type, whose mean is used; may be empty.
        slope: factor on that deviation, learned on later rows (1 = taken at its word, 0 = ignored).
        comparison: how the candidates did; None where there was too little to compare.
    """

    chosen: str
    pooled: TypeEffect
    types: Mapping[str, TypeEffect]
    deviations: tuple[Learner, ...]
    slope: float
    comparison: Comparison | None

    def predict(self, features: pd.DataFrame, event_features: pd.DataFrame, event_type: str) -> EffectPrediction:
        """Return the effect of an event of this type on each user."""
        rows = len(features)
        mean = self.types.get(event_type, self.pooled)
        known = event_type in self.types
        evidence = mean.evidence if known else "insufficient"
        if self.chosen == "none":
            return EffectPrediction(np.zeros(rows), np.full(rows, mean.standard_error), evidence)
        effect, variance = np.full(rows, mean.effect), np.full(rows, mean.standard_error**2)
        if self.deviations:
            frame = _with_type(features, event_features, np.full(rows, event_type, dtype=object))
            votes = np.stack([model.predict(frame) for model in self.deviations])
            effect = effect + self.slope * votes.mean(axis=0)
            variance = variance + self.slope**2 * votes.var(axis=0, ddof=1)
        return EffectPrediction(effect, np.sqrt(variance), evidence)

    def to_state(self) -> dict[str, Any]:
        """Return everything learned as arrays, JSON values and model bytes."""
        return {
            "chosen": self.chosen,
            "pooled": vars(self.pooled),
            "types": {name: vars(effect) for name, effect in self.types.items()},
            "deviations": [model.to_state() for model in self.deviations],
            "slope": self.slope,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "UpliftModel":
        """Rebuild the predicting parts from `to_state`."""
        return cls(
            chosen=state["chosen"],
            pooled=TypeEffect(**state["pooled"]),
            types={name: TypeEffect(**effect) for name, effect in state["types"].items()},
            deviations=tuple(learner_from_state(model) for model in state["deviations"]),
            slope=float(state["slope"]),
            comparison=None,
        )


@dataclass(frozen=True)
class ScoredExamples:
    """Examples that belong to an event, with their pseudo-outcome and the parts it is made of, all of shape (rows,)."""

    examples: Examples
    pseudo_outcome: np.ndarray
    propensity: np.ndarray
    outcome_if_exposed: np.ndarray
    outcome_if_not: np.ndarray


def fit_uplift(
    kind: Kind, examples: Examples, *, thread_count: int = 1, random_state: int = 0
) -> tuple[UpliftModel, ScoredExamples | None]:
    """Learn what events change.

    Args:
        kind: kind of the outcome ("chance" or "amount").
        examples: moments of inactive users; those without an event are left out.
        thread_count: threads of the boosted learners.
        random_state: seed.

    Returns:
        The model, and the rows it was learned from (None where there was too little to learn anything).
    """
    usable, evidence = _comparable(examples)
    if len(usable) == 0:
        nothing = TypeEffect(0.0, _prior_error(kind, examples.outcome), "insufficient", 0, 0)
        counted = {name: _count(examples, name) for name in _event_types(examples)}
        types = {
            name: TypeEffect(0.0, nothing.standard_error, "insufficient", *counts) for name, counts in counted.items()
        }
        return UpliftModel("none", nothing, types, (), 0.0, None), None
    scored = score_examples(kind, usable, random_state=random_state)
    every = np.ones(len(usable), dtype=bool)
    unknown = _prior_error(kind, examples.outcome)
    pooled, types = type_effects(scored, every, evidence, unknown)
    for name in set(_event_types(examples)) - set(types):
        types[name] = TypeEffect(pooled.effect, unknown, "insufficient", *_count(examples, name))
    enough = min(usable.is_exposed.sum(), (~usable.is_exposed).sum()) >= MINIMUM_FOR_DEVIATIONS
    comparison, slope = _compare(
        scored, evidence, _DEVIATIONS if enough else (), thread_count=thread_count, random_state=random_state
    )
    deviations: tuple[Learner, ...] = ()
    if comparison.chosen in _DEVIATIONS:
        deviations = _fit_bag(
            comparison.chosen, scored, every, types, thread_count=thread_count, random_state=random_state
        )
    return UpliftModel(comparison.chosen, pooled, types, deviations, slope, comparison), scored


def score_examples(kind: Kind, examples: Examples, *, random_state: int) -> ScoredExamples:
    """Give each row its doubly robust pseudo-outcome, by models fitted on other users."""
    frame = _with_type(examples.features, examples.event_features, examples.event_types)
    exposed = examples.is_exposed
    folds = user_folds(examples.user_ids, random_state + 1)
    randomised = examples.is_randomised
    propensity = np.where(randomised, examples.assignment_probability, np.nan)
    if_exposed, if_not = np.empty(len(examples)), np.empty(len(examples))
    for fold in range(FOLDS):
        apply = folds == fold
        learn = folds != fold if (folds != fold).any() else apply
        for side, target in ((exposed, if_exposed), (~exposed, if_not)):
            rows = learn & side if (learn & side).any() else side
            learner = LinearLearner(kind).fit(frame[rows], examples.outcome[rows])
            target[apply] = learner.predict(frame[apply])
        observed = apply & ~randomised
        if observed.any():
            rows = learn & ~randomised if (learn & ~randomised).any() else ~randomised
            assignment = LinearLearner("chance").fit(frame[rows], exposed[rows].astype(float))
            propensity[observed] = np.clip(assignment.predict(frame[observed]), *_PROPENSITY_BOUNDS)
    pseudo_outcome = (
        if_exposed
        - if_not
        + np.where(exposed, (examples.outcome - if_exposed) / propensity, 0.0)
        - np.where(exposed, 0.0, (examples.outcome - if_not) / (1.0 - propensity))
    )
    return ScoredExamples(examples, pseudo_outcome, propensity, if_exposed, if_not)


def type_effects(
    scored: ScoredExamples, rows: np.ndarray, evidence: Mapping[str, str], unknown: float = np.inf
) -> tuple[TypeEffect, dict[str, TypeEffect]]:
    """Return the pooled effect and the effect of each type, shrunk towards it by how much types really differ.

    `unknown` is the standard error to report where one user says nothing about others.
    """
    examples = scored.examples
    names = [name for name in evidence if (rows & (examples.event_types == name)).any()]
    raw = {}
    for name in names:
        chosen = rows & (examples.event_types == name)
        raw[name] = clustered_mean(scored.pseudo_outcome[chosen], examples.user_ids[chosen], np.ones(chosen.sum()))
    effects = np.array([raw[name][0] for name in names])
    errors = np.array([raw[name][1] for name in names])
    mean, mean_error, spread = _random_effects(effects, errors)
    types = {}
    for name, effect, error in zip(names, effects, errors, strict=True):
        trust = spread**2 / (spread**2 + error**2) if np.isfinite(error) and spread > 0 else 0.0
        if len(names) == 1:
            trust = 1.0
        shrunk = trust * effect + (1 - trust) * mean
        shrunk_error = float(np.sqrt(trust * error**2 + (1 - trust) ** 2 * mean_error**2)) if trust else mean_error
        types[name] = TypeEffect(
            float(shrunk), min(shrunk_error, unknown), evidence[name], *_count(examples.take(rows), name)
        )
    total = sum(effect.exposed for effect in types.values()), sum(effect.comparisons for effect in types.values())
    best = "randomised" if all(evidence[name] == "randomised" for name in names) else "adjusted"
    return TypeEffect(mean, min(float(np.hypot(mean_error, spread)), unknown), best, *total), types


def _random_effects(effects: np.ndarray, errors: np.ndarray) -> tuple[float, float, float]:
    """Mean over types, its standard error and the spread between types (DerSimonian and Laird)."""
    finite = np.isfinite(errors) & (errors > 0)
    if not finite.any():
        return (float(effects.mean()) if len(effects) else 0.0), float("inf"), 0.0
    effects, errors = effects[finite], errors[finite]
    weight = 1 / errors**2
    fixed = (weight * effects).sum() / weight.sum()
    excess = (weight * (effects - fixed) ** 2).sum() - (len(effects) - 1)
    scale = weight.sum() - (weight**2).sum() / weight.sum()
    spread_squared = max(0.0, excess / scale) if scale > 0 else 0.0
    weight = 1 / (errors**2 + spread_squared)
    mean = float((weight * effects).sum() / weight.sum())
    return mean, float(weight.sum() ** -0.5), float(np.sqrt(spread_squared))


def _learner(name: str, *, thread_count: int, random_state: int) -> Learner:
    if name == "linear":
        # Pseudo-outcomes are mostly noise: the penalty says so.
        return LinearLearner("difference", penalty=300.0)
    return BoostedLearner(
        "difference",
        BoostingSettings(iterations=100, depth=3, learning_rate=0.05, l2_leaf_reg=100.0, subsample=0.6),
        thread_count=thread_count,
        random_state=random_state,
    )


_DEVIATIONS = ("linear", "boosted")


def _compare(
    scored: ScoredExamples,
    evidence: Mapping[str, str],
    deviations: tuple[str, ...],
    *,
    thread_count: int,
    random_state: int,
) -> tuple[Comparison, float]:
    """Judge the candidates on later rows of other users; also learn how far to trust the deviations."""
    examples = scored.examples
    slices = time_slices(examples.reference_days)
    judged = ~slices.earlier if slices.is_out_of_time else slices.later
    folds = user_folds(examples.user_ids, random_state)
    simplicity = ("none", "types", *deviations)
    predictions = {name: np.full(len(examples), np.nan) for name in simplicity}
    predictions["none"][:] = 0.0
    for fold in range(FOLDS):
        rows, others = slices.earlier & (folds != fold), judged & (folds == fold)
        if not rows.any() or not others.any():
            continue
        pooled, types = type_effects(scored, rows, evidence)
        predictions["types"][others] = _level(examples, types, pooled)[others]
        frame = _with_type(examples.features, examples.event_features, examples.event_types)
        for name in deviations:
            learner = _learner(name, thread_count=thread_count, random_state=random_state)
            target = scored.pseudo_outcome - _level(examples, types, pooled)
            learner.fit(frame[rows], target[rows])
            predictions[name][others] = predictions["types"][others] + learner.predict(frame[others])
    judged &= np.isfinite(predictions["types"])
    # Randomised rows are the arbiter where there are enough of them: there the pseudo-outcome needs no assumption.
    randomised = judged & examples.is_randomised
    if min((randomised & examples.is_exposed).sum(), (randomised & ~examples.is_exposed).sum()) >= MINIMUM_EACH_SIDE:
        judged = randomised
    if not judged.any():
        return Comparison("none", {"none": 0.0}, {"none": 0.0}, {"none": 0.0}), 0.0
    target, users = scored.pseudo_outcome[judged], examples.user_ids[judged]
    slopes = {}
    losses = {}
    for name in simplicity:
        prediction = predictions[name][judged]
        losses[name] = row_losses("difference", target, prediction)
        if name in deviations:
            level = predictions["types"][judged]
            slopes[name] = _slope(prediction - level, target - level)
    comparison = simplest_within_one_standard_error(losses, simplicity, users)
    return comparison, slopes.get(comparison.chosen, 0.0)


def _slope(deviation: np.ndarray, target: np.ndarray) -> float:
    """Factor on the deviations that fits later rows best, within 0 and 1.5."""
    spread = float((deviation**2).sum())
    return round(float(np.clip((deviation * target).sum() / spread, 0.0, 1.5)), 9) if spread > 0 else 0.0


def _fit_bag(
    name: str,
    scored: ScoredExamples,
    rows: np.ndarray,
    types: Mapping[str, TypeEffect],
    *,
    thread_count: int,
    random_state: int,
) -> tuple[Learner, ...]:
    """Fit the learner on bootstrap samples of users: the mean is steadier than one fit, the spread is its error."""
    examples = scored.examples
    pooled = TypeEffect(0.0, 0.0, "", 0, 0)
    frame = _with_type(examples.features, examples.event_features, examples.event_types)
    target = scored.pseudo_outcome - _level(examples, types, pooled)
    generator = np.random.default_rng(random_state)
    codes = np.unique(examples.user_ids, return_inverse=True)[1]
    bag = []
    for turn in range(_BAG):
        draws = generator.poisson(1.0, codes.max() + 1)[codes]
        drawn = rows & (draws > 0)
        learner = _learner(name, thread_count=thread_count, random_state=random_state + turn)
        bag.append(learner.fit(frame[drawn], target[drawn], draws[drawn].astype(np.float64)))
    return tuple(bag)


def _level(examples: Examples, types: Mapping[str, TypeEffect], pooled: TypeEffect) -> np.ndarray:
    names, position = np.unique(examples.event_types.astype(str), return_inverse=True)
    return np.array([types.get(name, pooled).effect for name in names])[position]


def _comparable(examples: Examples) -> tuple[Examples, dict[str, str]]:
    """Keep, by type, the randomised rows if they suffice, else all rows if those do, else none."""
    keep = np.zeros(len(examples), dtype=bool)
    evidence = {}
    for name in _event_types(examples):
        of_type = examples.event_types == name
        for label, rows in (("randomised", of_type & examples.is_randomised), ("adjusted", of_type)):
            exposed = (rows & examples.is_exposed).sum()
            if exposed >= MINIMUM_EACH_SIDE and rows.sum() - exposed >= MINIMUM_EACH_SIDE:
                keep |= rows
                evidence[name] = label
                break
    return examples.take(keep), evidence


def _event_types(examples: Examples) -> list[str]:
    return sorted({str(name) for name in examples.event_types} - {""})


def _count(examples: Examples, name: str) -> tuple[int, int]:
    rows = examples.event_types == name
    exposed = int((rows & examples.is_exposed).sum())
    return exposed, int(rows.sum()) - exposed


def _prior_error(kind: Kind, outcome: np.ndarray) -> float:
    """Spread to report where nothing was measured: a fifth of the scale on which the outcome lives."""
    if kind == "chance":
        return 0.1
    return float(outcome.mean()) * 0.2 if len(outcome) else 0.0


def _with_type(features: pd.DataFrame, event_features: pd.DataFrame, event_types: np.ndarray) -> pd.DataFrame:
    """Join user features, features towards the event type and the type itself into one frame."""
    joined = pd.concat([features.reset_index(drop=True), event_features.reset_index(drop=True)], axis=1)
    joined[EVENT_TYPE] = pd.Series(event_types.astype(str), dtype="str")
    return joined
