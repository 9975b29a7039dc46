from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ml.effects import CellEffect, EffectsError, correct_cells, draw_forest, measure_cells
from tests.ml.effects.worlds import confounded_world, make_exposures


def _randomised(random, rows=20_000, **options):
    features = random.normal(size=(rows, 3))
    probability = np.where(features[:, 0] > 0, 0.7, 0.4)
    is_exposed = random.random(rows) < probability
    segments = np.where(features[:, 1] > 0, "warm", "cold").astype(object)
    effect = np.where(segments == "warm", 0.15, 0.0)
    returned = (random.random(rows) < 0.2 + 0.05 * features[:, 0].clip(-2, 2) + effect * is_exposed).astype(float)
    revenue = returned * random.exponential(10.0, rows)
    return make_exposures(
        is_exposed,
        {"return": returned, "revenue": revenue},
        features,
        probability=probability,
        segments=segments,
        costs=np.where(is_exposed, 0.2 + 1.0 * returned, 0.0),
        **options,
    )


def _find(cells, **wanted):
    found = [cell for cell in cells if all(getattr(cell, name) == value for name, value in wanted.items())]
    assert len(found) == 1
    return found[0]


def test_randomised_cells_find_the_effect_of_each_segment():
    cells = measure_cells(_randomised(np.random.default_rng(1)))
    assert {cell.evidence for cell in cells} == {"randomised"}
    for segment, truth in (("warm", 0.15), ("cold", 0.0)):
        cell = _find(cells, scope="segment", segment=segment, outcome="return")
        assert cell.low <= truth <= cell.high
        assert cell.high - cell.low < 0.05
    warm = _find(cells, scope="segment", segment="warm", outcome="revenue")
    assert warm.cost_per_contact == pytest.approx(0.2 + 0.35, abs=0.03)
    assert warm.roi_low < warm.roi < warm.roi_high
    assert warm.roi == pytest.approx(warm.effect / warm.cost_per_contact - 1)
    assert _find(cells, scope="event_type", outcome="return").diagnostics["variance_removed"] > 0


def test_known_chances_undo_a_choice_that_no_feature_shows():
    random = np.random.default_rng(11)
    hidden = random.random(20_000) < 0.5
    probability = np.where(hidden, 0.8, 0.3)
    is_exposed = random.random(20_000) < probability
    returned = (random.random(20_000) < 0.1 + 0.4 * hidden + 0.1 * is_exposed).astype(float)
    noise = random.normal(size=(20_000, 2))
    cells = measure_cells(make_exposures(is_exposed, {"return": returned}, noise, probability=probability))
    cell = _find(cells, scope="event_type")
    assert cell.effect == pytest.approx(0.1, abs=3.5 * cell.error)
    assert cell.error < 0.01


def test_a_user_does_not_change_with_the_others_and_a_rerun_gives_the_same():
    exposures = _randomised(np.random.default_rng(2), rows=3000)
    assert measure_cells(exposures) == measure_cells(exposures)


def test_chosen_users_beside_randomised_ones_do_not_enter_the_randomised_figure():
    random = np.random.default_rng(3)
    by_chance = _randomised(random, rows=6000)
    spoilt = replace(
        by_chance,
        assignment_probability=np.where(np.arange(6000) < 3000, by_chance.assignment_probability, np.nan),
        outcomes={
            "return": np.where((np.arange(6000) >= 3000) & by_chance.is_exposed, 1.0, by_chance.outcomes["return"])
        },
    )
    alone = measure_cells(spoilt.take(np.arange(6000) < 3000))
    together = measure_cells(spoilt)
    wanted = {"scope": "event_type", "outcome": "return"}
    assert _find(together, **wanted).evidence == "randomised"
    assert _find(together, **wanted).effect == pytest.approx(_find(alone, **wanted).effect)


def test_cells_without_enough_users_show_no_number_and_say_why():
    random = np.random.default_rng(4)
    features, is_exposed, returned = confounded_world(random, 3000, 0.1)
    segments = np.where(np.arange(3000) < 12, "tiny", "large")
    cells = measure_cells(make_exposures(is_exposed, {"return": returned}, features, segments=segments))
    assert _find(cells, segment="large").evidence == "adjusted"
    tiny = _find(cells, segment="tiny")
    assert (tiny.evidence, tiny.effect, tiny.low, tiny.p_value, tiny.rate_exposed) == ("insufficient", *[None] * 4)
    assert tiny.exposed + tiny.controls == 12
    assert "too few users" in tiny.diagnostics["reason"]


def test_outcomes_that_hardly_ever_happen_show_no_number():
    random = np.random.default_rng(5)
    features, is_exposed, _ = confounded_world(random, 3000, 0.1)
    rare = np.zeros(3000)
    rare[:3] = 1.0
    cells = measure_cells(make_exposures(is_exposed, {"return": rare}, features))
    assert {cell.evidence for cell in cells} == {"insufficient"}
    assert "too few outcomes" in cells[0].diagnostics["reason"]


def test_an_event_that_nobody_was_kept_from_shows_no_number():
    random = np.random.default_rng(6)
    features = random.normal(size=(500, 2))
    cells = measure_cells(make_exposures(np.ones(500, dtype=bool), {"return": np.ones(500)}, features))
    assert {cell.evidence for cell in cells} == {"insufficient"}
    assert cells[0].exposed == 500


def test_channels_are_compared_with_all_users_not_exposed():
    random = np.random.default_rng(7)
    features, is_exposed, returned = confounded_world(random, 6000, 0.0)
    channels = np.where(is_exposed, np.where(features[:, 3] > 0, "email", "push"), "none")
    returned = np.where(channels == "push", np.maximum(returned, random.random(6000) < 0.2), returned)
    cells = measure_cells(make_exposures(is_exposed, {"return": returned}, features, channels=channels))
    push, email = (_find(cells, scope="channel", channel=channel) for channel in ("push", "email"))
    assert push.low > 0 > email.low
    assert push.evidence == email.evidence == "adjusted"
    assert push.exposed + email.exposed == pytest.approx(is_exposed.sum(), rel=0.02)


def test_adjusted_effects_say_how_strong_something_unseen_must_be():
    features, is_exposed, returned = confounded_world(np.random.default_rng(8), 6000, 0.1)
    cell = _find(measure_cells(make_exposures(is_exposed, {"return": returned}, features)), scope="event_type")
    assert cell.diagnostics["e_value"] > cell.diagnostics["e_value_of_interval"] > 1
    assert cell.diagnostics["imbalance_after"] < cell.diagnostics["imbalance_before"]
    assert cell.rate_exposed == pytest.approx(returned[is_exposed].mean())


def _cell(name, effect, error, **others):
    parts = {"scope": "segment", "event_type": "a", "channel": "all", "event_id": "all", "outcome": "return"}
    return CellEffect(
        **{**parts, **others},
        segment=name,
        exposed=10,
        controls=10,
        evidence="adjusted",
        effect=effect,
        error=error,
        low=effect - 2 * error,
        high=effect + 2 * error,
        p_value=0.01,
    )


def test_small_cells_are_shrunk_and_say_so_and_large_ones_are_not():
    # Four large cells that truly differ, and a small one far off.
    sure = [_cell(f"s{position}", 0.05 * position, 0.001) for position in range(4)]
    noisy = _cell("small", 0.6, 0.3)
    corrected = correct_cells([*sure, noisy])
    assert [cell.is_shrunk for cell in corrected] == [False] * 4 + [True]
    small = corrected[-1]
    assert 0.075 < small.effect < 0.6
    assert small.high - small.low < noisy.high - noisy.low
    assert small.diagnostics["unshrunk_effect"] == 0.6
    assert corrected[1].effect == 0.05
    assert small.p_value == 0.01


def test_other_types_and_other_evidence_are_other_families():
    cells = [_cell(f"s{position}", 0.1 * position, 0.1, event_type=f"t{position}") for position in range(6)]
    assert not any(cell.is_shrunk for cell in correct_cells(cells))
    # P-values are corrected over all types of a scope: six at .01 stay .01, with one at .5 beside them .0117.
    corrected = correct_cells([*cells, replace(cells[0], p_value=0.5)])
    assert corrected[0].p_value_adjusted == pytest.approx(0.01 * 7 / 6)
    assert corrected[-1].p_value_adjusted == 0.5


def test_insufficient_cells_pass_through_the_corrections():
    bare = CellEffect("segment", "a", "s", "all", "all", "return", 1, 1, "insufficient")
    assert correct_cells([bare]) == [bare]


def test_a_forest_plot_lists_every_cell():
    random = np.random.default_rng(9)
    cells = correct_cells(measure_cells(_randomised(random, rows=3000)))
    figure = draw_forest(cells, "tournament")
    FigureCanvasAgg(figure).draw()
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == len([cell for cell in cells if cell.outcome == "return"])
    assert labels[0].startswith("all users")
    # Names are the users' own: dollars in them are money and not a formula.
    assert not any(label.get_parse_math() for label in figure.axes[0].get_yticklabels())
    with pytest.raises(EffectsError, match="no effects"):
        draw_forest(cells, "unknown")


def test_probabilities_of_zero_or_one_are_no_chance():
    with pytest.raises(EffectsError, match="strictly between"):
        make_exposures(np.array([True, False]), {"return": np.zeros(2)}, np.zeros((2, 1)), probability=1.0)


@pytest.mark.parametrize("probability", [0.5, np.nan])
def test_where_everybody_did_the_same_no_number_is_shown(probability):
    """Rounding would leave a difference of 1e-11 with an error of 0: a certain effect where there is none."""
    random = np.random.default_rng(10)
    is_exposed = random.random(400) < 0.5
    outcomes = {"return": np.ones(400), "revenue": np.full(400, 3.0)}
    cells = measure_cells(make_exposures(is_exposed, outcomes, random.normal(size=(400, 3)), probability=probability))
    assert {cell.evidence for cell in cells} == {"insufficient"}
    assert {cell.diagnostics["reason"] for cell in cells} == {"everybody had the same outcome"}


@pytest.mark.parametrize("smallest", [1e-12, 1e-300, 5e-324])
def test_chances_next_to_zero_and_one_stop_nothing(smallest):
    random = np.random.default_rng(11)
    probability = np.where(random.random(400) < 0.5, smallest, 1 - 1e-16)
    returned = (random.random(400) < 0.3).astype(float)
    cells = measure_cells(
        make_exposures(
            random.random(400) < 0.5, {"return": returned}, random.normal(size=(400, 3)), probability=probability
        )
    )
    assert cells
    shown = [cell for cell in cells if cell.effect is not None]
    assert np.isfinite([(cell.effect, cell.low, cell.high, cell.p_value) for cell in shown]).all()
