"""Read many cells together: small ones are shrunk towards their kind, p-values know how many were looked at."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from ml.effects.cells import CellEffect
from ml.effects.corrections import adjust_p_values, shrink_effects
from ml.effects.evidence import EvidenceRules

# A cell whose shrinkage would be below this is large: it keeps its own, unbiased figure.
SMALLEST_SHRINKAGE = 0.1


def correct_cells(effects: list[CellEffect], rules: EvidenceRules | None = None) -> list[CellEffect]:
    """Shrink the cells of each event type, and correct p-values over all cells of a scope and outcome.

    Families for shrinkage are cells of one event type, scope, outcome and kind of evidence: the segments of a type, or
    its single events. The p-values are those of the unshrunk estimates. The order of the cells is kept.
    """
    rules = rules or EvidenceRules()
    corrected = list(effects)
    for positions in _families(effects, lambda cell: (cell.event_type, cell.scope, cell.outcome, cell.evidence)):
        cells = [effects[position] for position in positions]
        values = np.array([cell.effect for cell in cells], dtype=float)
        errors = np.array([cell.error for cell in cells], dtype=float)
        if not (np.isfinite(values).all() and (errors > 0).all()):
            continue
        shrunk = shrink_effects(values, errors)
        for position, cell, value, error, share in zip(
            positions, cells, shrunk.values, shrunk.errors, shrunk.shrinkage, strict=True
        ):
            if share >= SMALLEST_SHRINKAGE:
                corrected[position] = _with_shrunk(cell, float(value), float(error), float(share), rules.confidence)
    for positions in _families(effects, lambda cell: (cell.scope, cell.outcome)):
        adjusted = adjust_p_values(np.array([effects[position].p_value for position in positions], dtype=float))
        for position, p_value in zip(positions, adjusted, strict=True):
            corrected[position] = replace(corrected[position], p_value_adjusted=float(p_value))
    return corrected


def _families(effects: list[CellEffect], key: Callable[[CellEffect], Hashable]) -> Iterable[list[int]]:
    """Positions of the cells with a number, by family."""
    families: dict[Hashable, list[int]] = {}
    for position, cell in enumerate(effects):
        if cell.effect is not None:
            families.setdefault(key(cell), []).append(position)
    return families.values()


def _with_shrunk(cell: CellEffect, value: float, error: float, share: float, confidence: float) -> CellEffect:
    """Put the shrunk figure in the place of the cell's own, and keep the latter in the diagnostics."""
    width = NormalDist().inv_cdf(0.5 + confidence / 2) * error
    low, high = value - width, value + width
    cost = cell.cost_per_contact
    roi = (None, None, None) if cell.roi is None or not cost else tuple(end / cost - 1.0 for end in (value, low, high))
    return replace(
        cell,
        effect=value,
        error=error,
        low=low,
        high=high,
        is_shrunk=True,
        roi=roi[0],
        roi_low=roi[1],
        roi_high=roi[2],
        diagnostics={**cell.diagnostics, "unshrunk_effect": cell.effect, "shrinkage": share},
    )
