"""Stage `measure_effects`: what every kind of event, and every single one, did to those it was offered to."""

import hashlib
import json
import math
import re
from datetime import date, timedelta

import numpy as np
import pandas as pd

from ml.contracts import StageReport
from ml.effects import CellEffect, Exposures, correct_cells, draw_forest, measure_cells
from ml.pipelines.model import load_champion
from ml.pipelines.pictures import Picture, save_pictures
from ml.pipelines.reading import TrainingRows, read_training_rows
from ml.registry import RegistryError
from ml.segmentation import SegmentationError
from warehouse.door import Warehouse
from warehouse.settings import Settings

__all__ = ["measure_effects"]

RESPONSES = """
    select example_id, has_responded from features.training_examples
    where is_inactive and return_known_at <= %(as_of_date)s and has_returned is not null and arm = 'treated'
    order by example_id
"""

COSTS = "select event_id, reward_cost, contact_cost from marts.dim_events order by event_id"

COLUMNS = [
    *("as_of_date", "scope", "event_type", "segment", "channel", "event_id", "outcome", "exposed", "controls"),
    *("rate_exposed", "rate_control", "effect", "low", "high", "evidence", "is_shrunk", "p_value", "p_value_adjusted"),
    *("revenue_per_contact", "cost_per_contact", "roi", "roi_low", "roi_high", "diagnostics"),
    "model_version",
]

DRAWN_SCOPES = ("event_type", "segment", "channel")
DRAWN_COLUMNS = ("scope", "segment", "channel", "exposed", "controls", "evidence", "effect", "low", "high", "is_shrunk")

# Figures are written with that many digits after the point: more is noise of the floating point.
DIGITS = 9
DIGITS_OF_MONEY = 6


def measure_effects(as_of_date: date, settings: Settings) -> StageReport:
    """Estimate effects from all exposures whose windows closed before a date and write them, replacing the date's rows.

    Reads `features.training_examples`, the features, the costs of events and the segmenter of the model in charge;
    writes `predictions.event_effects` and a forest plot a type. Without exposures of inactive users nothing is written,
    and the report says so.
    """
    warehouse = Warehouse(settings.warehouse_url)
    rows = read_training_rows(warehouse, as_of_date, only_events=True)
    messages: list[str] = []
    effects: list[CellEffect] = []
    version: str | None = None
    if (rows.keys["arm"] == "treated").any():
        segments, version = _read_segments(warehouse, as_of_date, settings, rows, messages)
        costs = _read_costs(warehouse, as_of_date, rows)
        money_days = 1 + settings.return_window_days + max(settings.conversion_window_days, settings.value_horizon_days)
        effects = correct_cells(_measure(rows, segments, costs, as_of_date - timedelta(days=money_days)))
    else:
        messages.append("No inactive user was exposed to an event before this date, so there is no effect to measure.")
    with warehouse.transaction() as connection:
        warehouse.replace_rows(
            connection, "predictions.event_effects", _as_rows(effects, as_of_date, version), {"as_of_date": as_of_date}
        )
    save_pictures(warehouse, as_of_date, "effects", _draw(effects), settings)
    found = [cell.evidence for cell in effects]
    counts = {evidence: found.count(evidence) for evidence in ("randomised", "adjusted", "insufficient")}
    if effects and counts["randomised"] + counts["adjusted"] == 0:
        messages.append("No cell has enough exposed and comparable users yet: every effect is marked insufficient.")
    return StageReport(
        stage="measure_effects", as_of_date=as_of_date, rows=len(effects), messages=tuple(messages), details=counts
    )


def _draw(effects: list[CellEffect]) -> list[Picture]:
    """Draw a forest plot of each event type that has an effect on returning: the type, its segments and channels."""
    shown = [cell for cell in effects if cell.outcome == "return" and cell.scope in DRAWN_SCOPES]
    pictures = []
    for event_type in sorted({cell.event_type for cell in shown if cell.effect is not None}):
        cells = [cell for cell in shown if cell.event_type == event_type]
        word = re.sub(r"[^a-z0-9]+", "_", event_type.lower()).strip("_")[:40]
        # Two types may be spelt alike, and some are spelt in letters that no file system knows.
        mark = hashlib.sha256(event_type.encode()).hexdigest()[:6]
        pictures.append(
            Picture(
                name=f"effects_{word}_{mark}",
                title=f"What {event_type} did to the chance of returning",
                figure=draw_forest(cells, event_type),
                data=pd.DataFrame({name: [getattr(cell, name) for cell in cells] for name in DRAWN_COLUMNS}),
            )
        )
    return pictures


def _read_segments(
    warehouse: Warehouse, as_of_date: date, settings: Settings, rows: TrainingRows, messages: list[str]
) -> tuple[np.ndarray, str | None]:
    """Segment of each row's user at the moment of exposure and the version that knows it; 'all' without a segmenter."""
    everybody = np.full(len(rows.keys), "all", dtype=object)
    try:
        model, version, notes = load_champion(warehouse, as_of_date, settings)
    except RegistryError as error:
        messages.append(f"Effects are not split by segment. {error}")
        return everybody, None
    messages.extend(notes)
    if model.segmenter is None:
        messages.append("Effects are not split by segment, because the model in charge has no segments.")
        return everybody, None
    try:
        return np.asarray(model.segmenter.predict(rows.features), dtype=object), version.version
    except SegmentationError as error:
        messages.append(f"Effects are not split by segment. {error}")
        return everybody, None


def _read_costs(warehouse: Warehouse, as_of_date: date, rows: TrainingRows) -> np.ndarray:
    """Money each row cost: contact, and the reward where the user responded; 0 for rows not exposed."""
    events = warehouse.read_frame(COSTS).set_index("event_id")
    responses = warehouse.read_frame(RESPONSES, {"as_of_date": as_of_date}).set_index("example_id")["has_responded"]
    has_responded = rows.keys["example_id"].map(responses).astype("boolean").fillna(False).to_numpy(dtype=bool)
    contact = rows.keys["event_id"].map(events["contact_cost"]).to_numpy(dtype=float, na_value=0.0)
    reward = rows.keys["event_id"].map(events["reward_cost"]).to_numpy(dtype=float, na_value=0.0)
    return np.where(rows.keys["arm"] == "treated", contact + reward * has_responded, 0.0)


def _measure(rows: TrainingRows, segments: np.ndarray, costs: np.ndarray, last_money_date: date) -> list[CellEffect]:
    """Estimate every event type: the return on all rows, money on those exposed by `last_money_date`.

    Which rows have money known depends on the date of exposure alone: to wait longer for those who returned than for
    those who did not would tilt the comparison.
    """
    returned = rows.keys["has_returned"].astype("boolean").fillna(False).to_numpy(dtype=float)
    converted = rows.keys["has_converted"].astype("boolean").fillna(False).to_numpy(dtype=float)
    revenue = rows.keys["revenue_amount"].to_numpy(dtype=float, na_value=0.0)
    is_money_known = (rows.keys["as_of_date"] <= pd.Timestamp(last_money_date)).to_numpy()
    everyone = np.ones(len(rows.keys), dtype=bool)
    effects: list[CellEffect] = []
    for event_type in sorted(rows.keys["event_type"].unique()):
        of_type = (rows.keys["event_type"] == event_type).to_numpy()
        for known, outcomes in (
            (everyone, {"return": returned}),
            (is_money_known, {"conversion": converted, "revenue": revenue}),
        ):
            exposures = _as_exposures(rows, event_type, segments, costs, outcomes).take(of_type & known)
            if exposures.is_exposed.any():
                effects += measure_cells(exposures)
    return effects


def _as_exposures(
    rows: TrainingRows, event_type: str, segments: np.ndarray, costs: np.ndarray, outcomes: dict[str, np.ndarray]
) -> Exposures:
    """Put the rows of the warehouse into the words of the method."""
    keys = rows.keys
    return Exposures(
        event_type=event_type,
        user_ids=keys["user_id"].to_numpy(dtype=object),
        event_ids=keys["event_id"].to_numpy(dtype=object),
        channels=keys["channel"].astype(object).where(keys["channel"].notna(), "none").to_numpy(dtype=object),
        segments=segments,
        is_exposed=(keys["arm"] == "treated").to_numpy(dtype=bool),
        assignment_probability=keys["assignment_probability"].to_numpy(dtype=float, na_value=np.nan),
        outcomes=outcomes,
        costs=costs,
        features=pd.concat([rows.features, rows.event_features], axis=1),
    )


def _as_rows(effects: list[CellEffect], as_of_date: date, version: str | None) -> pd.DataFrame:
    """Turn effects into rows of `predictions.event_effects`."""
    rows = []
    for cell in effects:
        rows.append(
            {
                "as_of_date": as_of_date,
                "scope": cell.scope,
                "event_type": cell.event_type,
                "segment": cell.segment,
                "channel": cell.channel,
                "event_id": cell.event_id,
                "outcome": cell.outcome,
                "exposed": cell.exposed,
                "controls": cell.controls,
                "rate_exposed": _rounded(cell.rate_exposed),
                "rate_control": _rounded(_rate_otherwise(cell)),
                "effect": _rounded(cell.effect),
                "low": _rounded(cell.low),
                "high": _rounded(cell.high),
                "evidence": cell.evidence,
                "is_shrunk": cell.is_shrunk,
                "p_value": _rounded(cell.p_value),
                "p_value_adjusted": _rounded(cell.p_value_adjusted),
                "revenue_per_contact": _rounded(cell.effect, DIGITS_OF_MONEY) if cell.outcome == "revenue" else None,
                "cost_per_contact": _rounded(cell.cost_per_contact, DIGITS_OF_MONEY),
                "roi": _rounded(cell.roi, DIGITS_OF_MONEY),
                "roi_low": _rounded(cell.roi_low, DIGITS_OF_MONEY),
                "roi_high": _rounded(cell.roi_high, DIGITS_OF_MONEY),
                "diagnostics": json.dumps(_rounded_within(dict(cell.diagnostics)), sort_keys=True),
                "model_version": version,
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def _rate_otherwise(cell: CellEffect) -> float | None:
    """What the exposed would have done without exposure; a chance stays within 0 and 1 where noise would leave them."""
    if cell.rate_exposed is None or cell.effect is None:
        return None
    rate = cell.rate_exposed - cell.effect
    return rate if cell.outcome == "revenue" else min(max(rate, 0.0), 1.0)


def _rounded(value: float | None, digits: int = DIGITS) -> float | None:
    return None if value is None else round(float(value), digits)


def _rounded_within(value: object) -> object:
    """Round every number in nested diagnostics; JSON knows neither NaN nor infinity, so they become null."""
    if isinstance(value, dict):
        return {key: _rounded_within(inner) for key, inner in value.items()}
    if isinstance(value, float):
        return round(float(value), DIGITS) if math.isfinite(value) else None
    return value
