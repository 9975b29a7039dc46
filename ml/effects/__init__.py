"""What did each event do? Effects of exposure with intervals, and the evidence they rest on."""

from ml.effects.adjustment import Adjustment, Balance, adjust_for_choice, measure_balance
from ml.effects.cells import SCOPES, CellEffect, measure_cells
from ml.effects.corrections import ShrunkEffects, adjust_p_values, shrink_effects
from ml.effects.errors import EffectsError
from ml.effects.estimates import Estimate, estimate_difference, estimate_return_on_investment
from ml.effects.evidence import EvidenceRules
from ml.effects.exposures import Exposures
from ml.effects.families import correct_cells
from ml.effects.pictures import draw_forest
from ml.effects.sensitivity import e_value
from ml.effects.statistics import EffectStatistic, statistics_by_cell

__all__ = [
    "SCOPES",
    "Adjustment",
    "Balance",
    "CellEffect",
    "EffectStatistic",
    "EffectsError",
    "Estimate",
    "EvidenceRules",
    "Exposures",
    "ShrunkEffects",
    "adjust_for_choice",
    "adjust_p_values",
    "correct_cells",
    "draw_forest",
    "e_value",
    "estimate_difference",
    "estimate_return_on_investment",
    "measure_balance",
    "measure_cells",
    "shrink_effects",
    "statistics_by_cell",
]
