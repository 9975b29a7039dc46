import numpy as np
import pytest

from ml.effects import EffectsError, EffectStatistic, estimate_difference, statistics_by_cell


def _rows(random, count=400, users=400):
    return {
        "cells": random.integers(0, 3, count),
        "users": random.integers(0, users, count),
        "is_exposed": random.random(count) < 0.4,
        "weights": random.uniform(1, 3, count),
        "variables": {"y": random.normal(size=count), "x": random.normal(size=count)},
    }


def _take(rows, chosen):
    return {
        name: ({key: value[chosen] for key, value in part.items()} if name == "variables" else part[chosen])
        for name, part in rows.items()
    }


def test_statistics_of_strata_of_users_add_up_to_those_of_all():
    rows = _rows(np.random.default_rng(1))
    whole = statistics_by_cell(cell_count=3, **rows)
    is_even = rows["users"] % 2 == 0
    halves = [statistics_by_cell(cell_count=3, **_take(rows, part)) for part in (is_even, ~is_even)]
    for cell in range(3):
        added = halves[0][cell] + halves[1][cell]
        assert (added.exposed, added.controls) == (whole[cell].exposed, whole[cell].controls)
        np.testing.assert_allclose(added.totals, whole[cell].totals)
        np.testing.assert_allclose(added.products, whole[cell].products)
        assert estimate_difference(added, "y").error == pytest.approx(estimate_difference(whole[cell], "y").error)


def test_statistics_do_not_depend_on_the_order_of_rows():
    random = np.random.default_rng(2)
    rows = _rows(random, users=60)
    shuffled = _take(rows, random.permutation(400))
    pairs = zip(statistics_by_cell(cell_count=3, **rows), statistics_by_cell(cell_count=3, **shuffled), strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one.products, other.products)


def test_rows_of_one_user_count_as_one_piece_of_information():
    random = np.random.default_rng(3)
    rows = _rows(random, users=10**6)
    rows["users"] = np.arange(400)
    once = statistics_by_cell(cell_count=3, **rows)[0]
    five_times = {
        name: ({key: np.tile(value, 5) for key, value in part.items()} if name == "variables" else np.tile(part, 5))
        for name, part in rows.items()
    }
    repeated = statistics_by_cell(cell_count=3, **five_times)[0]
    assert repeated.exposed == 5 * once.exposed
    assert estimate_difference(repeated, "y").error == pytest.approx(estimate_difference(once, "y").error)
    assert repeated.effective_users(is_exposed=True) == pytest.approx(once.effective_users(is_exposed=True))


def test_rows_outside_every_cell_and_rows_without_weight_do_not_count():
    rows = _rows(np.random.default_rng(4))
    rows["cells"][:100] = -1
    rows["weights"][100:200] = 0.0
    kept = _take(rows, np.arange(200, 400))
    pairs = zip(statistics_by_cell(cell_count=3, **rows), statistics_by_cell(cell_count=3, **kept), strict=True)
    for one, other in pairs:
        assert one.exposed == other.exposed
        np.testing.assert_allclose(one.totals, other.totals)


def test_unknown_outcomes_are_refused():
    rows = _rows(np.random.default_rng(5))
    rows["variables"]["y"][7] = np.nan
    with pytest.raises(EffectsError, match="finite"):
        statistics_by_cell(cell_count=3, **rows)


def test_statistics_of_other_variables_do_not_add_up():
    one = EffectStatistic(("y",), 0, 0, np.zeros((2, 2)), np.zeros((4, 4)))
    other = EffectStatistic(("z",), 0, 0, np.zeros((2, 2)), np.zeros((4, 4)))
    with pytest.raises(EffectsError, match="same variables"):
        _ = one + other
    with pytest.raises(EffectsError, match="no variable"):
        one.position("z")
    with pytest.raises(EffectsError, match="totals"):
        EffectStatistic(("y",), 0, 0, np.zeros((2, 3)), np.zeros((4, 4)))
