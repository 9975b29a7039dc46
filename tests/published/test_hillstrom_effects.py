"""Figures of the Hillstrom experiment, to the digit."""

import numpy as np
import pandas as pd
import pytest

from ml.effects import Exposures, estimate_difference, measure_cells, statistics_by_cell
from tests.published.hillstrom import read_hillstrom

ARMS = {"Mens E-Mail": 21_307, "Womens E-Mail": 21_387, "No E-Mail": 21_306}


def _statistic(arm):
    data = read_hillstrom()
    rows = data[data["segment"].isin([arm, "No E-Mail"])]
    return statistics_by_cell(
        np.zeros(len(rows), dtype=int),
        1,
        np.arange(len(rows)),
        (rows["segment"] == arm).to_numpy(),
        np.ones(len(rows)),
        {name: rows[name].to_numpy(dtype=float) for name in ("visit", "spend", "history", "recency")},
    )[0]


def test_arms_have_their_published_sizes_and_rates():
    data = read_hillstrom()
    assert data["segment"].value_counts().to_dict() == ARMS
    rates = data.groupby("segment")["visit"].mean()
    assert rates["Mens E-Mail"] == pytest.approx(0.182757, abs=5e-7)
    assert rates["Womens E-Mail"] == pytest.approx(0.151400, abs=5e-7)
    assert rates["No E-Mail"] == pytest.approx(0.106167, abs=5e-7)


def test_effects_on_visits_are_the_published_ones():
    mens = estimate_difference(_statistic("Mens E-Mail"), "visit")
    assert mens.value == pytest.approx(0.0765896, abs=5e-8)
    # The published interval divides by n, Welch's by n - 1: they agree to the sixth digit.
    assert mens.interval() == pytest.approx((0.0699535, 0.0832256), abs=5e-7)
    womens = estimate_difference(_statistic("Womens E-Mail"), "visit")
    assert womens.value == pytest.approx(0.0452331, abs=5e-8)


def test_the_effect_on_spend_and_its_welch_test_are_the_published_ones():
    womens = estimate_difference(_statistic("Womens E-Mail"), "spend")
    assert womens.value == pytest.approx(0.4244122, abs=5e-8)
    assert womens.p_value == pytest.approx(0.0011294, abs=5e-8)


def test_past_behaviour_narrows_the_interval_without_moving_the_effect():
    statistic = _statistic("Mens E-Mail")
    plain = estimate_difference(statistic, "visit")
    helped = estimate_difference(statistic, "visit", ("history", "recency"))
    assert helped.error < plain.error
    assert helped.value == pytest.approx(plain.value, abs=plain.error)


def test_the_whole_room_finds_the_published_effect_and_calls_it_randomised():
    data = read_hillstrom()
    data = data[data["segment"] != "Womens E-Mail"].reset_index(drop=True)
    is_exposed = (data["segment"] == "Mens E-Mail").to_numpy()
    rows = len(data)
    exposures = Exposures(
        event_type="mens e-mail",
        user_ids=np.array([f"c{row}" for row in range(rows)], dtype=object),
        event_ids=np.full(rows, "e1", dtype=object),
        channels=np.full(rows, "email", dtype=object),
        segments=np.where(data["newbie"] == 1, "new", "old").astype(object),
        is_exposed=is_exposed,
        assignment_probability=np.full(rows, 0.5),
        outcomes={"return": data["visit"].to_numpy(dtype=float)},
        costs=np.zeros(rows),
        features=pd.DataFrame(
            data[["recency", "history", "mens", "womens", "newbie", "zip_code", "channel", "history_segment"]]
        ),
    )
    cells = measure_cells(exposures)
    assert {cell.evidence for cell in cells} == {"randomised"}
    overall = next(cell for cell in cells if cell.scope == "event_type")
    assert overall.effect == pytest.approx(0.0765896, abs=0.001)
    assert overall.high - overall.low < 0.0832256 - 0.0699535
    assert overall.diagnostics["largest_imbalance_before"] < 0.05
