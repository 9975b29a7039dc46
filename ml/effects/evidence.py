"""What a comparison may rest on: chance, or the likeness of users that models make up for, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from ml.effects.adjustment import adjust_for_choice
from ml.effects.errors import EffectsError
from ml.effects.exposures import Exposures
from ml.effects.nuisance import build_design, fold_by_user, predict_outcomes


@dataclass(frozen=True)
class EvidenceRules:
    """When data carries a number at all.

    Attributes:
        confidence: of the intervals.
        minimum_users: effective users that each arm needs.
        minimum_outcomes: rows with an outcome above zero that both arms together need, at least one in each: below it
            the normal approximation behind the intervals fails.
        maximum_propensity: chance of exposure above which nobody comparable is in the other arm.
        maximum_trimmed_share: share of the exposed that may be trimmed before the rest no longer speaks for them.
        maximum_imbalance: mean standardised difference that may remain after weighting, beyond what chance leaves.
    """

    confidence: float = 0.95
    minimum_users: float = 20.0
    minimum_outcomes: int = 5
    maximum_propensity: float = 0.95
    maximum_trimmed_share: float = 0.3
    maximum_imbalance: float = 0.1


@dataclass(frozen=True)
class Source:
    """Rows of one kind of evidence, made ready to be added up.

    Attributes:
        kind: "randomised" or "adjusted".
        rows: the exposures compared.
        weights: weight of each row in the comparison, 0 where it takes no part.
        variables: what is added up, by name.
        carriers: for each outcome the variable that carries it, and the covariates that explain it.
        plain_weights: weights before any adjustment, for the balance before it.
        features: standardised features whose balance is reported, with `feature_names`.
        is_trimmed: rows with nobody comparable in the other arm.
    """

    kind: str
    rows: Exposures
    weights: np.ndarray
    variables: dict[str, np.ndarray]
    carriers: dict[str, tuple[str, tuple[str, ...]]]
    plain_weights: np.ndarray
    features: np.ndarray
    feature_names: tuple[str, ...]
    is_trimmed: np.ndarray


class Evidence:
    """The exposures of one event type, made ready for both kinds of comparison when first asked."""

    def __init__(self, exposures: Exposures, rules: EvidenceRules) -> None:
        """Keep the rows and the rules; nothing is fitted yet."""
        self.exposures = exposures
        self.rules = rules

    def names(self, split: str) -> list[str]:
        """Values of a field of the exposures that have exposed rows, sorted."""
        return sorted(pd.unique(getattr(self.exposures, split)[self.exposures.is_exposed]))

    def source(self, kind: str) -> tuple[Source | None, str]:
        """Rows of one kind of evidence ("randomised", "adjusted"), or None and the reason why there are none."""
        return self._randomised if kind == "randomised" else self._adjusted

    @cached_property
    def _randomised(self) -> tuple[Source | None, str]:
        return prepare_randomised(self.exposures.take(self.exposures.is_randomised)), "nobody was kept back by chance"

    @cached_property
    def _adjusted(self) -> tuple[Source | None, str]:
        return prepare_adjusted(self.exposures, self.rules)


def prepare_randomised(rows: Exposures) -> Source | None:
    """Weights like 1 / P(own arm), and what users were expected to do anyway as covariate; None without both arms."""
    if not (rows.is_exposed.any() and (~rows.is_exposed).any()):
        return None
    chance = np.where(rows.is_exposed, rows.assignment_probability, 1.0 - rows.assignment_probability)
    # Only their ratios count: in this unit the square of a chance next to 0 does not overflow.
    weights = chance.min() / chance
    design = build_design(rows.features)
    names = tuple(rows.outcomes)
    outcomes = np.column_stack([rows.outcomes[name] for name in names])
    folds = fold_by_user(rows.user_ids)
    variables = {name: rows.outcomes[name] for name in names}
    carriers: dict[str, tuple[str, tuple[str, ...]]] = {name: (name, ()) for name in names}
    if design.matrix.shape[1] > 0 and len(np.unique(folds)) > 1:
        everyone = np.ones(len(rows), dtype=bool)
        expected = predict_outcomes(design.matrix, outcomes, weights, folds, everyone)
        for column, name in enumerate(names):
            variables[f"expected {name}"] = expected[:, column]
            carriers[name] = (name, (f"expected {name}",))
    return Source(
        kind="randomised",
        rows=rows,
        weights=weights,
        variables={**variables, "cost": rows.costs},
        carriers=carriers,
        plain_weights=np.ones(len(rows)),
        features=design.matrix[:, design.balance],
        feature_names=tuple(design.names[column] for column in design.balance),
        is_trimmed=np.zeros(len(rows), dtype=bool),
    )


def prepare_adjusted(rows: Exposures, rules: EvidenceRules) -> tuple[Source | None, str]:
    """Weights and residuals of the doubly robust comparison, or None and the reason why there is none."""
    exposed_users = len(np.unique(rows.user_codes[rows.is_exposed]))
    other_users = len(np.unique(rows.user_codes[~rows.is_exposed]))
    if min(exposed_users, other_users) < rules.minimum_users:
        return None, f"only {exposed_users} exposed users and {other_users} to compare them with"
    try:
        adjustment = adjust_for_choice(rows, rules.maximum_propensity)
    except EffectsError as error:
        return None, str(error)
    variables = {f"unexplained {name}": values for name, values in adjustment.residuals.items()}
    source = Source(
        kind="adjusted",
        rows=rows,
        weights=adjustment.weights,
        variables={**variables, **rows.outcomes, "cost": rows.costs},
        carriers={name: (f"unexplained {name}", ()) for name in rows.outcomes},
        plain_weights=adjustment.plain_weights,
        features=adjustment.features,
        feature_names=adjustment.balance_names,
        is_trimmed=adjustment.is_trimmed,
    )
    return source, ""
