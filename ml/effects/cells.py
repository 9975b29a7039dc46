"""From exposures of one event type to an effect, its interval and its evidence, for every cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from ml.effects.adjustment import measure_balance
from ml.effects.estimates import Estimate, estimate_difference, estimate_return_on_investment
from ml.effects.evidence import Evidence, EvidenceRules, Source
from ml.effects.exposures import Exposures
from ml.effects.sensitivity import e_values_of_amount, e_values_of_chance
from ml.effects.statistics import EffectStatistic, statistics_by_cell

ALL = "all"
SCOPES = ("event_type", "segment", "channel", "event")


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
    evidence = Evidence(exposures, rules)
    effects = _measure_scope(evidence, "event_type", [ALL])
    effects += _measure_scope(evidence, "segment", [name for name in evidence.names("segments") if name != ALL])
    effects += _measure_scope(evidence, "event", evidence.names("event_ids"))
    channels = evidence.names("channels")
    for channel in channels:
        compared = evidence if len(channels) == 1 else Evidence(_of_channel(exposures, channel), rules)
        effects += _measure_scope(compared, "channel", [channel])
    return effects


def _of_channel(exposures: Exposures, channel: str) -> Exposures:
    """Rows to compare the exposed of one channel with: all that were not exposed, whatever their channel.

    Who is reached over which channel is a choice of its own, so this set gets models of its own; and chance decided
    only between rows of the channel itself.
    """
    rows = exposures.take((exposures.channels == channel) | ~exposures.is_exposed)
    return replace(rows, assignment_probability=np.where(rows.channels == channel, rows.assignment_probability, np.nan))


def _measure_scope(evidence: Evidence, scope: str, names: list[str]) -> list[CellEffect]:
    """Estimate all cells of one scope, from the best evidence each of them has."""
    exposures = evidence.exposures
    cells = _cell_codes(exposures, scope, names)
    tallies: dict[str, _Tally | None] = {}

    def measure(kind: str, cell: int, outcome: str) -> tuple[dict[str, Any] | None, str]:
        # Models of choice are fitted only when a cell asks for them.
        source, reason = evidence.source(kind)
        if kind not in tallies:
            tallies[kind] = _Tally(source, scope, names, evidence.rules) if source else None
        tally = tallies[kind]
        return tally.measure(cell, outcome) if tally else (None, reason)

    effects = []
    for cell, name in enumerate(names):
        place: dict[str, Any] = {
            "scope": scope,
            "event_type": exposures.event_type,
            "segment": name if scope == "segment" else ALL,
            "channel": name if scope == "channel" else ALL,
            "event_id": name if scope == "event" else ALL,
        }
        exposed, rows = int((exposures.is_exposed & (cells == cell)).sum()), int((cells == cell).sum())
        for outcome in exposures.outcomes:
            kind, (found, reason) = "randomised", measure("randomised", cell, outcome)
            if found is None:
                kind, (found, reason) = "adjusted", measure("adjusted", cell, outcome)
            if found is None:
                found = {"exposed": exposed, "controls": rows - exposed, "diagnostics": {"reason": reason}}
                kind = "insufficient"
            effects.append(CellEffect(**place, outcome=outcome, evidence=kind, **found))
    return effects


class _Tally:
    """The statistics of all cells of one scope and one kind of evidence."""

    def __init__(self, source: Source, scope: str, names: list[str], rules: EvidenceRules) -> None:
        self._source = source
        self._rules = rules
        self._cells = _cell_codes(source.rows, scope, names)
        self._statistics = statistics_by_cell(
            self._cells, len(names), source.rows.user_codes, source.rows.is_exposed, source.weights, source.variables
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
        compared = rows.outcomes[outcome][(self._cells == cell) & (self._source.weights > 0)]
        if not refusal and (compared == compared[0]).all():
            # Without any spread the error would be 0, and what rounding leaves of the difference would look certain.
            refusal = "everybody had the same outcome"
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
        if source.kind == "randomised":
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
        if self._source.kind == "randomised":
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
    return np.asarray(pd.Index(names, dtype=object).get_indexer(pd.Index(split, dtype=object)), dtype=np.int64)
