"""From exposures of one event type to an effect, its interval and its evidence, for every cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ml.effects.adjustment import adjust_for_choice, measure_balance
from ml.effects.errors import EffectsError
from ml.effects.estimates import Estimate, estimate_difference, estimate_return_on_investment
from ml.effects.exposures import Exposures
from ml.effects.nuisance import build_design, fold_by_user, predict_outcomes
from ml.effects.sensitivity import e_values_of_amount, e_values_of_chance
from ml.effects.statistics import EffectStatistic, statistics_by_cell

ALL = "all"
SCOPES = ("event_type", "segment", "channel", "event")


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
class CellEffect:
    """What exposure did to one outcome in one cell; the figures are None where the evidence is insufficient.

    Attributes:
        scope: which of `SCOPES` the cell splits by; the other dimensions are "all".
        exposed, controls: rows compared.
        evidence: "randomised", "adjusted" or "insufficient".
        rate_exposed: mean outcome of the exposed.
        effect: difference the exposure made, `error` its standard error, `low` and `high` its interval.
        p_value: of "no effect", before looking at other cells; `p_value_adjusted` after.
        is_shrunk: whether effect and interval were pulled towards the family's mean.
        cost_per_contact: mean cost of an exposed row (revenue only).
        roi: return on investment with interval (revenue only).
        diagnostics: what the evidence rests on, or why there is none.
    """

    scope: str
    event_type: str
    segment: str
    channel: str
    event_id: str
    outcome: str
    exposed: int
    controls: int
    evidence: str
    rate_exposed: float | None = None
    effect: float | None = None
    error: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    p_value_adjusted: float | None = None
    is_shrunk: bool = False
    cost_per_contact: float | None = None
    roi: float | None = None
    roi_low: float | None = None
    roi_high: float | None = None
    diagnostics: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class _Source:
    """Rows of one kind of evidence, made ready to be added up."""

    evidence: str
    rows: Exposures
    weights: np.ndarray
    variables: dict[str, np.ndarray]
    # Outcome -> variable that carries it, and the covariates that explain it.
    carriers: dict[str, tuple[str, tuple[str, ...]]]
    plain_weights: np.ndarray
    features: np.ndarray
    feature_names: tuple[str, ...]
    is_trimmed: np.ndarray


def measure_cells(exposures: Exposures, rules: EvidenceRules | None = None) -> list[CellEffect]:
    """Estimate the effect of one event type on each outcome: overall, by segment, by channel, by event.

    A cell is *randomised* where enough of its users were exposed or kept back by chance with known probability; those
    rows alone are used then. Otherwise it is *adjusted*, with all rows, if overlap and balance carry it. Otherwise it
    is *insufficient* and shows no number.
    """
    # One thread: matrices are small, and sums in one order give the same digits on every run.
    with threadpool_limits(limits=1):
        return _measure_cells(exposures, rules or EvidenceRules())


def _measure_cells(exposures: Exposures, rules: EvidenceRules) -> list[CellEffect]:
    """Estimate every cell, scope by scope."""
    randomised = _prepare_randomised(exposures.take(exposures.is_randomised))
    adjusted, reason = _prepare_adjusted(exposures, rules)
    effects = []
    splits = {"event_type": [ALL]}
    splits["segment"] = sorted(set(exposures.segments[exposures.is_exposed]) - {ALL})
    splits["event"] = sorted(set(exposures.event_ids[exposures.is_exposed]))
    for scope, names in splits.items():
        effects += _measure_scope(exposures, scope, names, randomised, adjusted, reason, rules)
    channels = sorted(set(exposures.channels[exposures.is_exposed]))
    for channel in channels:
        of_channel = exposures.channels == channel
        by_chance = exposures.take(exposures.is_randomised & of_channel)
        chosen, why = adjusted, reason
        # Who is reached over which channel is a choice of its own, with a model of its own.
        compared = exposures
        if len(channels) > 1:
            compared = exposures.take(of_channel | ~exposures.is_exposed)
            chosen, why = _prepare_adjusted(compared, rules)
        effects += _measure_scope(compared, "channel", [channel], _prepare_randomised(by_chance), chosen, why, rules)
    return effects


def _prepare_randomised(rows: Exposures) -> _Source | None:
    """Weights 1 / P(own arm), and what users were expected to do anyway as covariate; None without both arms."""
    if not (rows.is_exposed.any() and (~rows.is_exposed).any()):
        return None
    chance = np.where(rows.is_exposed, rows.assignment_probability, 1.0 - rows.assignment_probability)
    weights = 1.0 / chance
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
    return _Source(
        evidence="randomised",
        rows=rows,
        weights=weights,
        variables={**variables, "cost": rows.costs},
        carriers=carriers,
        plain_weights=np.ones(len(rows)),
        features=design.matrix[:, design.balance],
        feature_names=tuple(design.names[column] for column in design.balance),
        is_trimmed=np.zeros(len(rows), dtype=bool),
    )


def _prepare_adjusted(rows: Exposures, rules: EvidenceRules) -> tuple[_Source | None, str]:
    """Weights and residuals of the doubly robust comparison, or None and the reason why there is none."""
    exposed_users = len(set(rows.user_ids[rows.is_exposed]))
    other_users = len(set(rows.user_ids[~rows.is_exposed]))
    if min(exposed_users, other_users) < rules.minimum_users:
        return None, f"only {exposed_users} exposed users and {other_users} to compare them with"
    try:
        adjustment = adjust_for_choice(rows, rules.maximum_propensity)
    except EffectsError as error:
        return None, str(error)
    variables = {f"unexplained {name}": values for name, values in adjustment.residuals.items()}
    source = _Source(
        evidence="adjusted",
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


def _measure_scope(
    exposures: Exposures,
    scope: str,
    names: list[str],
    randomised: _Source | None,
    adjusted: _Source | None,
    reason: str,
    rules: EvidenceRules,
) -> list[CellEffect]:
    """Estimate all cells of one scope, from the best evidence each of them has."""
    tallies = {
        source.evidence: _Tally(source, scope, names, rules) for source in (randomised, adjusted) if source is not None
    }
    effects = []
    counts = _cell_codes(exposures, scope, names)
    for cell, name in enumerate(names):
        inside = counts == cell
        place: dict[str, Any] = {
            "scope": scope,
            "event_type": exposures.event_type,
            "segment": name if scope == "segment" else ALL,
            "channel": name if scope == "channel" else ALL,
            "event_id": name if scope == "event" else ALL,
        }
        for outcome in exposures.outcomes:
            why = reason
            for evidence in ("randomised", "adjusted"):
                if evidence in tallies:
                    found, refusal = tallies[evidence].measure(cell, outcome)
                    if found is not None:
                        effects.append(CellEffect(**place, outcome=outcome, evidence=evidence, **found))
                        break
                    why = refusal
            else:
                effects.append(
                    CellEffect(
                        **place,
                        outcome=outcome,
                        exposed=int((inside & exposures.is_exposed).sum()),
                        controls=int((inside & ~exposures.is_exposed).sum()),
                        evidence="insufficient",
                        diagnostics={"reason": why},
                    )
                )
    return effects


class _Tally:
    """The statistics of all cells of one scope and one kind of evidence."""

    def __init__(self, source: _Source, scope: str, names: list[str], rules: EvidenceRules) -> None:
        self._source = source
        self._rules = rules
        self._cells = _cell_codes(source.rows, scope, names)
        _, users = np.unique(source.rows.user_ids, return_inverse=True)
        self._statistics = statistics_by_cell(
            self._cells, len(names), users, source.rows.is_exposed, source.weights, source.variables
        )
        self._checks: dict[int, tuple[dict[str, object], str]] = {}

    def measure(self, cell: int, outcome: str) -> tuple[dict[str, Any] | None, str]:
        """Fields of the cell's effect on one outcome, or None and the reason why there is no number."""
        statistic, rows = self._statistics[cell], self._source.rows
        diagnostics, refusal = self._check(cell)
        kept = (self._cells == cell) & (self._source.weights > 0) & (rows.outcomes[outcome] != 0)
        found = [int((kept & rows.is_exposed).sum()), int((kept & ~rows.is_exposed).sum())]
        if not refusal and (sum(found) < self._rules.minimum_outcomes or min(found) == 0):
            refusal = f"too few outcomes: {found[0]} among the exposed, {found[1]} among the others"
        if refusal:
            return None, refusal
        variable, covariates = self._source.carriers[outcome]
        estimate = estimate_difference(statistic, variable, covariates)
        low, high = estimate.interval(self._rules.confidence)
        rate = statistic.mean(outcome, is_exposed=True)
        fields: dict[str, Any] = {
            "exposed": statistic.exposed,
            "controls": statistic.controls,
            "rate_exposed": rate,
            "effect": estimate.value,
            "error": estimate.error,
            "low": low,
            "high": high,
            "p_value": estimate.p_value,
            "diagnostics": {**diagnostics, **self._diagnose(statistic, outcome, estimate, rate, low, high)},
        }
        if outcome == "revenue":
            fields["cost_per_contact"] = statistic.mean("cost", is_exposed=True)
            roi = estimate_return_on_investment(statistic, variable, "cost", covariates)
            if roi is not None:
                fields["roi"] = roi.value
                fields["roi_low"], fields["roi_high"] = roi.interval(self._rules.confidence)
        return fields, ""

    def _check(self, cell: int) -> tuple[dict[str, object], str]:
        """Figures about overlap and balance of a cell, and the reason why it carries no number ('' if it does)."""
        if cell not in self._checks:
            self._checks[cell] = self._check_cell(cell)
        return self._checks[cell]

    def _check_cell(self, cell: int) -> tuple[dict[str, object], str]:
        statistic, source, rules = self._statistics[cell], self._source, self._rules
        users = [statistic.effective_users(is_exposed=arm) for arm in (True, False)]
        if min(users) < rules.minimum_users:
            return {}, f"too few users: {users[0]:.0f} exposed and {users[1]:.0f} comparable others count"
        inside = np.flatnonzero(self._cells == cell)
        exposed = source.rows.is_exposed[inside]
        trimmed = float(source.is_trimmed[inside][exposed].mean())
        balance = measure_balance(
            source.features[inside],
            source.feature_names,
            exposed,
            source.plain_weights[inside],
            source.weights[inside],
        )
        figures: dict[str, object] = {
            "effective_exposed": users[0],
            "effective_controls": users[1],
            "imbalance_before": balance.mean_before,
            "imbalance_after": balance.mean_after,
            "largest_imbalance_before": balance.largest_before,
            "largest_imbalance_after": balance.largest_after,
            "worst_balanced": balance.worst,
        }
        if source.evidence == "randomised":
            return figures, ""
        figures["trimmed_share"] = trimmed
        if trimmed > rules.maximum_trimmed_share:
            return figures, f"no comparable unexposed users for {trimmed:.0%} of the exposed"
        if balance.mean_after > rules.maximum_imbalance + balance.chance:
            return figures, f"the arms differ by {balance.mean_after:.2f} standard deviations even after weighting"
        return figures, ""

    def _diagnose(
        self, statistic: EffectStatistic, outcome: str, estimate: Estimate, rate: float, low: float, high: float
    ) -> dict[str, object]:
        """What can be said about one estimate: how much CUPED helped, how strong something unseen must be."""
        if self._source.evidence == "randomised":
            plain = estimate_difference(statistic, outcome)
            return {"variance_removed": 1.0 - (estimate.error / plain.error) ** 2 if plain.error > 0 else 0.0}
        values = self._source.rows.outcomes[outcome]
        if ((values == 0) | (values == 1)).all():
            point, nearer = e_values_of_chance(rate, low, high, estimate.value)
        else:
            point, nearer = e_values_of_amount(low, high, estimate.value, float(values.std()))
        # JSON knows no infinity: null says that nothing unseen, however strong, would do.
        finite = {"e_value": point, "e_value_of_interval": nearer}
        return {name: value if np.isfinite(value) else None for name, value in finite.items()}


def _cell_codes(rows: Exposures, scope: str, names: list[str]) -> np.ndarray:
    """Code of each row's cell within a scope; -1 for rows of none of the cells.

    The rows of a channel were already chosen by whoever asks: its controls have no channel of their own.
    """
    if scope in ("event_type", "channel"):
        return np.zeros(len(rows), dtype=np.int64)
    split = rows.segments if scope == "segment" else rows.event_ids
    positions = {name: position for position, name in enumerate(names)}
    values, codes = np.unique(split, return_inverse=True)
    return np.array([positions.get(value, -1) for value in values], dtype=np.int64)[codes]
