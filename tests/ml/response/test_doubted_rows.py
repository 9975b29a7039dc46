"""Rows that marketing picked teach who is moved more, but never whether anything moves: chance decides that."""

import numpy as np

from ml.response import Examples
from ml.response.slopes import fit_slopes
from ml.response.uplift import UpliftModel, fit_uplift
from tests.ml.response.worlds import World, make_world

_GROUPS = np.array(["bonus", "contest", "story"])
_SLOPES = np.array([0.5, 0.0, -0.4])


def _rows(believed: int, doubted: int, *, bias: np.ndarray, seed: int) -> tuple[np.ndarray, ...]:
    """Columns, outcome, contrast, groups and which rows are doubted; the true slopes are 0.3 and `_SLOPES`."""
    draw = np.random.default_rng(seed)
    rows = believed + doubted
    x = draw.normal(size=(rows, len(_SLOPES)))
    is_doubted = np.arange(rows) >= believed
    contrast = draw.choice([-0.5, 0.5], rows)
    effect = 0.3 + x @ _SLOPES + is_doubted * (bias[0] + x @ bias[1:])
    chance = 1 / (1 + np.exp(-(-1.0 + contrast * effect)))
    return x, (draw.random(rows) < chance).astype(float), contrast, _GROUPS[draw.integers(0, 3, rows)], is_doubted


def _errors(believed: int, doubted: int, *, bias: np.ndarray) -> tuple[float, float]:
    """Root mean squared error of the common slopes with the doubted rows, and with the believed ones alone."""
    squares = np.zeros(2)
    for seed in range(6):
        x, outcome, contrast, groups, is_doubted = _rows(believed, doubted, bias=bias, seed=seed)
        for place, kept in enumerate((np.ones(len(x), dtype=bool), ~is_doubted)):
            slopes = fit_slopes(
                x[kept],
                np.full(int(kept.sum()), -1.0),
                outcome[kept],
                contrast[kept],
                groups[kept],
                [0, 0, 0],
                is_doubted=is_doubted[kept],
            )
            squares[place] += ((slopes.means[-1] - np.array([0.3, *_SLOPES])) ** 2).sum()
    return float(np.sqrt(squares[0])), float(np.sqrt(squares[1]))


def test_doubted_rows_that_agree_sharpen_the_slopes() -> None:
    together, alone = _errors(1500, 12_000, bias=np.zeros(4))

    assert together < 0.7 * alone


def test_a_bias_of_doubted_rows_does_not_become_an_effect() -> None:
    bias = np.array([1.5, -1.0, 0.8, 0.8])
    together, alone = _errors(6000, 12_000, bias=bias)

    # Taken for what they are not, two thirds of the rows would carry two thirds of the bias into the slopes.
    assert together < 1.3 * alone
    assert together < 0.2 * np.sqrt(6 * (bias**2).sum())


def _with_picked_rows(world: World, share: float, *, hidden: float, seed: int) -> Examples:
    """Turn a share of the rows into picked ones, of whom the invited return more often for a reason nobody sees."""
    draw = np.random.default_rng(seed)
    examples = world.examples
    is_picked = draw.random(len(examples)) < share
    returns_anyway = is_picked & examples.is_exposed & (draw.random(len(examples)) < hidden)
    return Examples(
        features=examples.features,
        event_features=examples.event_features,
        user_ids=examples.user_ids,
        event_types=examples.event_types,
        is_exposed=examples.is_exposed,
        assignment_probability=np.where(is_picked, np.nan, examples.assignment_probability),
        reference_days=examples.reference_days,
        outcome=np.where(returns_anyway, 1.0, examples.outcome),
    )


def _fit(examples: Examples, world: World) -> UpliftModel:
    return fit_uplift("chance", examples, world.p_without, random_state=1)


def test_marketing_that_picks_whom_returns_anyway_shows_no_effect() -> None:
    world = make_world(9000, seed=3, effect=0.0)
    examples = _with_picked_rows(world, 0.7, hidden=0.3, seed=4)

    assert _fit(examples, world).chosen == "none"


def test_a_hidden_reason_of_picked_rows_leaves_the_effect_what_it_is() -> None:
    world = make_world(12_000, seed=5)
    fitted = _fit(_with_picked_rows(world, 0.6, hidden=0.3, seed=6), world)

    for name in _GROUPS:
        rows = world.examples.event_types == name
        part = world.examples.take(rows)
        shift = fitted.predict(part.features, part.event_features, str(name), world.p_without[rows]).shift
        start = np.log(world.p_without[rows] / (1 - world.p_without[rows]))
        uplift = 1 / (1 + np.exp(-start - shift)) - world.p_without[rows]
        assert abs(uplift.mean() - world.effect[rows].mean()) < 0.05


def test_what_is_said_of_a_type_rests_on_the_rows_that_chance_decided() -> None:
    world = make_world(9000, seed=7)
    examples = _with_picked_rows(world, 0.5, hidden=0.3, seed=8)
    fitted = _fit(examples, world)

    randomised = examples.is_randomised & (examples.event_types == "bonus")
    assert fitted.types["bonus"].evidence == "randomised"
    assert fitted.types["bonus"].exposed == int((randomised & examples.is_exposed).sum())
