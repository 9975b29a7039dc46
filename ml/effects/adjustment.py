"""Make users whom nobody exposed comparable with those somebody chose: weights, overlap and balance.

The target is the effect on those who were exposed. A control stands in for them with weight e(x) / (1 - e(x)), where
e is the chance of having been chosen given what was known before, and only what the outcome model leaves unexplained
is compared: the estimate is right when either of the two models is (doubly robust; Robins, Rotnitzky, Zhao 1994).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.effects.errors import EffectsError
from ml.effects.exposures import Exposures
from ml.effects.nuisance import build_design, fold_by_user, predict_exposure, predict_outcomes

# A smaller arm does not show in which way chances bend with a feature; straight lines are all it can carry.
FEWEST_ROWS_FOR_BENDS = 300


@dataclass(frozen=True)
class Adjustment:
    """What makes the rows of one event type comparable.

    Attributes:
        weights: shape (rows,): 1 for the exposed, the odds of exposure for controls, 0 for rows that were trimmed.
        residuals: outcome minus what was expected without exposure, by outcome, each of shape (rows,).
        is_trimmed: bool, shape (rows,): no comparable row in the other arm.
        balance_names: names of the features compared.
        features: standardised features, shape (rows, len(balance_names)).
        plain_weights: shape (rows,): weights before the adjustment, which only even out the mix of events.
    """

    weights: np.ndarray
    residuals: dict[str, np.ndarray]
    is_trimmed: np.ndarray
    balance_names: tuple[str, ...]
    features: np.ndarray
    plain_weights: np.ndarray


@dataclass(frozen=True)
class Balance:
    """Standardised differences of the arms' means, absolute, over all features.

    Attributes:
        mean_before, largest_before: as the arms came.
        mean_after, largest_after: with the weights of the adjustment.
        worst: the features that differ most after it, with their difference.
        chance: mean difference that chance alone leaves between arms of this size.
    """

    mean_before: float
    largest_before: float
    mean_after: float
    largest_after: float
    worst: dict[str, float]
    chance: float


def adjust_for_choice(exposures: Exposures, maximum_propensity: float) -> Adjustment:
    """Fit both helper models across folds of users and weight the controls towards the exposed.

    Controls are first weighted so that every event counts among them as it does among the exposed: how many unexposed
    users were sampled for an event says nothing about who was chosen. Exposed rows of events without controls are
    trimmed, and so are rows of either arm where the exposed make up more than `maximum_propensity` of those alike:
    hardly anybody comparable is in the other arm.
    """
    exposed = exposures.is_exposed
    represented = _exposed_per_control(exposures.event_ids, exposed)
    plain = np.where(exposed, (represented > 0).astype(float), represented)
    if not (plain[exposed].any() and plain[~exposed].any()):
        raise EffectsError("No event has both exposed users and controls to compare them with.")
    is_large = min(int(exposed.sum()), int((~exposed).sum())) >= FEWEST_ROWS_FOR_BENDS
    design = build_design(exposures.features, has_bends=is_large)
    folds = fold_by_user(exposures.user_ids)
    used = np.flatnonzero(plain > 0)
    chances = np.full(len(plain), np.nan)
    matrix = design.matrix if len(used) == len(plain) else design.matrix[used]
    chances[used] = predict_exposure(matrix, exposed[used], plain[used], folds[used])
    # How many of the exposed a control just like this row stands for, or would have to.
    represented = represented * chances / np.maximum(1.0 - chances, 1e-12)
    is_trimmed = ~(represented / (1.0 + represented) <= maximum_propensity)
    weights = np.where(is_trimmed, 0.0, np.where(exposed, 1.0, represented))

    names = tuple(exposures.outcomes)
    outcomes = np.column_stack([exposures.outcomes[name] for name in names])
    # Learned where the comparison happens: on controls, weighted towards those who look like the exposed.
    teachers = ~exposed[used] & (weights[used] > 0)
    if not teachers.any():
        raise EffectsError("No control is comparable with any of the exposed.")
    expected = predict_outcomes(matrix, outcomes[used], weights[used], folds[used], teachers)
    residuals = {}
    for column, name in enumerate(names):
        residuals[name] = np.zeros(len(plain))
        residuals[name][used] = outcomes[used, column] - expected[:, column]
    return Adjustment(
        weights=weights,
        residuals=residuals,
        is_trimmed=is_trimmed,
        balance_names=tuple(design.names[column] for column in design.balance),
        features=design.matrix[:, design.balance],
        plain_weights=plain,
    )


def measure_balance(
    features: np.ndarray,
    names: tuple[str, ...],
    is_exposed: np.ndarray,
    plain_weights: np.ndarray,
    weights: np.ndarray,
) -> Balance:
    """Compare the arms' means feature by feature, in units of the feature's spread, before and after weighting."""
    if features.shape[1] == 0:
        return Balance(0.0, 0.0, 0.0, 0.0, {}, 0.0)
    arms = (is_exposed, ~is_exposed)
    spread = np.sqrt((_variance(features, plain_weights * arms[0]) + _variance(features, plain_weights * arms[1])) / 2)
    spread[spread < 1e-9] = np.inf
    before, after = (
        np.abs(_mean(features, chosen * is_exposed) - _mean(features, chosen * ~is_exposed)) / spread
        for chosen in (plain_weights, weights)
    )
    worst = np.argsort(-after, kind="stable")[:3]
    users = [weights[arm].sum() ** 2 / np.square(weights[arm]).sum() for arm in arms]
    return Balance(
        mean_before=float(before.mean()),
        largest_before=float(before.max()),
        mean_after=float(after.mean()),
        largest_after=float(after.max()),
        worst={names[column]: float(after[column]) for column in worst},
        # E|Z| of a normal difference between two means of unit spread.
        chance=float(np.sqrt(2 / np.pi) * np.sqrt(1 / users[0] + 1 / users[1])),
    )


def _exposed_per_control(event_ids: np.ndarray, is_exposed: np.ndarray) -> np.ndarray:
    """Exposed rows a control row in each row's event; 0 where an event has only one arm."""
    events, names = pd.factorize(event_ids)
    exposed = np.bincount(events[is_exposed], minlength=len(names))
    controls = np.bincount(events[~is_exposed], minlength=len(names))
    return np.where(controls > 0, exposed / np.maximum(controls, 1), 0.0)[events]


def _mean(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean of each column."""
    return np.asarray(weights @ features / weights.sum())


def _variance(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted variance of each column."""
    return np.maximum(weights @ np.square(features) / weights.sum() - _mean(features, weights) ** 2, 0.0)
