"""What an event shifts on average, by type: on the log odds for a chance, in money for an amount.

The mean shift of a type is covariate adjusted: it is what the exposed are above their own expectation minus what the
others are above theirs, each row weighted by the inverse chance of what happened to it. Types borrow from each other by
how much they really differ.

Sources: DerSimonian and Laird (1986) for the spread between types; Efron and Morris (1975) for the borrowing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import chi2

from ml.response.examples import Examples
from ml.response.learners import Kind, LinearLearner
from ml.response.selection import FOLDS, clustered_mean, user_folds

# An estimated chance of being invited is never trusted beyond these; a weight of 1/0.03 lets one user speak for 33.
_PROPENSITY_BOUNDS = (0.03, 0.97)
# Inactive users needed on both sides before an effect of a type is more than an anecdote.
MINIMUM_EACH_SIDE = 50
_NEWTON_STEPS = 25
_LARGEST_SHIFT = 4.0
_LEVEL = 0.05


@dataclass(frozen=True)
class TypeEffect:
    """The mean effect of one event type after shrinking, its standard error, and what it rests on.

    `effect` is on the scale of the link: log odds for a chance, money for an amount.
    """

    effect: float
    standard_error: float
    evidence: str
    exposed: int
    comparisons: int


@dataclass(frozen=True)
class Compared:
    """Rows that tell what events change, with what was expected of them; arrays of shape (rows,).

    Attributes:
        examples: the rows; each belongs to an event.
        expected: outcome expected if the user is left alone, by a model that has not seen the user.
        propensity: chance of being exposed, known or estimated.
        importance: weight of what is learned from the row: its user's expected money over the mean, within bounds.
        is_doubted: rows that chance did not decide, of types that have enough of those that it did; only slopes learn
            from them, and never judge by them. None where there are no such rows.
    """

    examples: Examples
    expected: np.ndarray
    propensity: np.ndarray
    importance: np.ndarray
    is_doubted: np.ndarray | None = None

    @property
    def is_believed(self) -> np.ndarray:
        """Rows that count for what they are, bool (rows,)."""
        return np.ones(len(self.examples), dtype=bool) if self.is_doubted is None else ~self.is_doubted


def link(kind: Kind, mean: np.ndarray) -> np.ndarray:
    """Return the log odds of a chance, or the amount itself."""
    if kind == "chance":
        inside = np.clip(mean, 1e-6, 1 - 1e-6)
        return np.log(inside) - np.log1p(-inside)
    return mean


def inverse_link(kind: Kind, value: np.ndarray) -> np.ndarray:
    """Return the chance of log odds, or the amount itself."""
    return 1 / (1 + np.exp(-np.clip(value, -30, 30))) if kind == "chance" else value


def variance(kind: Kind, mean: np.ndarray) -> np.ndarray:
    """Return how fast the mean moves with the link, which for a chance is also the variance of the outcome."""
    return mean * (1 - mean) if kind == "chance" else np.ones(len(mean))


def comparable_rows(examples: Examples, *, randomised_first: bool = True) -> tuple[np.ndarray, dict[str, str]]:
    """Keep, by type, the randomised rows if they suffice, else all rows if those do, else none.

    Without `randomised_first` all rows are kept at once.

    Returns:
        mask of shape (rows,) and the evidence ("randomised", "adjusted") by type that is kept.
    """
    keep = np.zeros(len(examples), dtype=bool)
    evidence = {}
    for name in event_types(examples):
        of_type = examples.event_types == name
        choices = [("randomised", of_type & examples.is_randomised), ("adjusted", of_type)]
        for label, rows in choices if randomised_first else choices[1:]:
            exposed = (rows & examples.is_exposed).sum()
            if exposed >= MINIMUM_EACH_SIDE and rows.sum() - exposed >= MINIMUM_EACH_SIDE:
                keep |= rows
                evidence[name] = label
                break
    return keep, evidence


def doubted_rows(examples: Examples, evidence: Mapping[str, str]) -> np.ndarray:
    """Rows that chance did not decide, of types for which it decided enough others, bool (rows,)."""
    doubted = np.zeros(len(examples), dtype=bool)
    for name, label in evidence.items():
        rows = (examples.event_types == name) & ~examples.is_randomised
        exposed = (rows & examples.is_exposed).sum()
        if label == "randomised" and min(exposed, rows.sum() - exposed) >= MINIMUM_EACH_SIDE:
            doubted |= rows
    return doubted


def propensities(examples: Examples, frame: pd.DataFrame, *, random_state: int) -> np.ndarray:
    """Return each row's chance of being exposed: the known one, or one estimated on other users, (rows,)."""
    chance = np.where(examples.is_randomised, examples.assignment_probability, np.nan)
    unknown = ~examples.is_randomised
    folds = user_folds(examples.user_ids, random_state + 1)
    for fold in range(FOLDS):
        apply = unknown & (folds == fold)
        learn = unknown & (folds != fold)
        if not apply.any():
            continue
        learn = learn if learn.any() else unknown
        model = LinearLearner("chance").fit(frame[learn], examples.is_exposed[learn].astype(float))
        chance[apply] = model.predict(frame[apply])
    return np.clip(chance, *_PROPENSITY_BOUNDS)


def type_effects(
    kind: Kind, compared: Compared, rows: np.ndarray, evidence: Mapping[str, str], unknown: float
) -> tuple[TypeEffect, dict[str, TypeEffect]]:
    """Return the pooled effect and the effect of each type, shrunk towards it by how much types really differ.

    Args:
        kind: kind of the outcome.
        compared: rows to compare.
        rows: mask of the rows to use.
        evidence: evidence by type; other types are left out.
        unknown: standard error to report where one user says nothing about others.
    """
    raw = _raw_effects(kind, compared, rows, evidence)
    if not raw:
        return TypeEffect(0.0, unknown, "insufficient", 0, 0), {}
    counts = {name: count_sides(compared.examples.take(rows), name) for name in raw}
    effects = np.array([effect for effect, _ in raw.values()])
    errors = np.array([error for _, error in raw.values()])
    mean, mean_error, spread = random_effects(effects, errors)
    types = {}
    for name, (effect, error) in raw.items():
        trust = 1.0
        if len(raw) > 1:
            trust = spread**2 / (spread**2 + error**2) if np.isfinite(error) and spread > 0 else 0.0
        shrunk = trust * effect + (1 - trust) * mean
        shrunk_error = float(np.hypot(trust * error, (1 - trust) * mean_error)) if trust else mean_error
        types[name] = TypeEffect(float(shrunk), min(shrunk_error, unknown), evidence[name], *counts[name])
    label = "randomised" if all(evidence[name] == "randomised" for name in raw) else "adjusted"
    total = (sum(exposed for exposed, _ in counts.values()), sum(others for _, others in counts.values()))
    return TypeEffect(mean, min(float(np.hypot(mean_error, spread)), unknown), label, *total), types


def are_effects_shown(kind: Kind, compared: Compared, evidence: Mapping[str, str]) -> bool:
    """Tell whether mean effects of the types differ from 0 beyond noise: chi-squared test of all at once, at 5 %."""
    every = np.ones(len(compared.examples), dtype=bool)
    raw = [(effect, error) for effect, error in _raw_effects(kind, compared, every, evidence).values() if error > 0]
    statistic = sum((effect / error) ** 2 for effect, error in raw)
    return bool(raw) and bool(chi2.sf(statistic, len(raw)) < _LEVEL)


def _raw_effects(
    kind: Kind, compared: Compared, rows: np.ndarray, evidence: Mapping[str, str]
) -> dict[str, tuple[float, float]]:
    """Effect and standard error by type before types borrow from each other."""
    raw = {}
    for name in evidence:
        of_type = rows & (compared.examples.event_types == name)
        sides = [of_type & compared.examples.is_exposed, of_type & ~compared.examples.is_exposed]
        if all(side.any() for side in sides):
            above = [_shift(kind, compared, side) for side in sides]
            raw[name] = (above[0][0] - above[1][0], float(np.hypot(above[0][1], above[1][1])))
    return raw


def random_effects(effects: np.ndarray, errors: np.ndarray) -> tuple[float, float, float]:
    """Return the mean over types, its standard error and the spread between types (DerSimonian and Laird)."""
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


def event_types(examples: Examples) -> list[str]:
    """Return the types of events among the examples, sorted."""
    return sorted({str(name) for name in examples.event_types} - {""})


def count_sides(examples: Examples, name: str) -> tuple[int, int]:
    """Return how many rows of a type were exposed and how many were not."""
    rows = examples.event_types == name
    exposed = int((rows & examples.is_exposed).sum())
    return exposed, int(rows.sum()) - exposed


def unknown_error(kind: Kind, outcome: np.ndarray) -> float:
    """Spread to report where nothing was measured: half a log odds for a chance, a fifth of the mean for money."""
    if kind == "chance":
        return 0.5
    return float(outcome.mean()) * 0.2 if len(outcome) else 0.0


def control_level(kind: Kind, examples: Examples, expected: np.ndarray) -> float:
    """Shift that brings expectations to what randomised controls did; 0 for an amount or without such controls.

    Users whom marketing left out are not left alone in the same way as a control group: other events may have reached
    them. The shift is believed as far as the controls' successes outweigh 30 imagined ones.
    """
    controls = examples.is_randomised & ~examples.is_exposed
    successes = examples.outcome[controls].sum()
    if kind != "chance" or successes == 0:
        return 0.0
    chance = np.clip(examples.assignment_probability, *_PROPENSITY_BOUNDS)
    compared = Compared(examples, expected, chance, np.ones(len(examples)))
    return round(_shift(kind, compared, controls)[0] * float(successes / (successes + 30)), 9)


def _shift(kind: Kind, compared: Compared, rows: np.ndarray) -> tuple[float, float]:
    """Shift on the link by which rows of one arm exceed what was expected of them, with its standard error."""
    examples = compared.examples.take(rows)
    propensity = compared.propensity[rows]
    weight = compared.importance[rows] / np.where(examples.is_exposed, propensity, 1 - propensity)
    start = link(kind, compared.expected[rows])
    if kind != "chance":
        return clustered_mean(examples.outcome - start, examples.user_ids, weight)
    # Half a success and half a failure in a thousandth of the weight keep the shift finite when all are alike.
    shift, prior = 0.0, 1e-3 * weight.mean()
    for _ in range(_NEWTON_STEPS):
        chance = inverse_link(kind, start + shift)
        score = (weight * (examples.outcome - chance)).sum() - prior * shift
        information = (weight * chance * (1 - chance)).sum() + prior
        step = float(np.clip(score / information, -1.0, 1.0))
        shift = float(np.clip(shift + step, -_LARGEST_SHIFT, _LARGEST_SHIFT))
        if abs(step) < 1e-10:
            break
    chance = inverse_link(kind, start + shift)
    codes = np.unique(examples.user_ids, return_inverse=True)[1]
    users = int(codes.max()) + 1
    if users < 2:
        return shift, float("inf")
    sums = np.bincount(codes, weights=weight * (examples.outcome - chance))
    information = (weight * chance * (1 - chance)).sum() + prior
    return shift, float(np.sqrt((sums**2).sum() * users / (users - 1)) / information)
