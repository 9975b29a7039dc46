"""Events that move payment after a return: found where they do, and rarely seen where they do not."""

import numpy as np
import pandas as pd

from ml.response import ConversionModel, Examples
from ml.response.affinity import AFFINITY
from ml.response.uplift import UpliftModel, fit_uplift
from tests.ml.response.worlds import make_world

RUNS = 100
_TYPES = ("bonus", "contest", "story")


def _returned_users(
    rows: int, *, shift: dict[str, float], seed: int, slope: float = 0.0, taste: pd.Series | None = None
) -> tuple[Examples, np.ndarray]:
    """Users who returned, of whom one in twenty pays; payers are invited more often, and half of the rows are tests.

    Args:
        rows: how many.
        shift: what an event of a type adds to the log odds of paying.
        seed: seed.
        slope: what any event adds to them for each unit of spirit, less what it makes pay more on average.
        taste: how much each takes to the event, known beforehand, which adds a quarter of it; unknown if left out.

    Returns:
        the examples, and the true chance to pay without an event.
    """
    draw = np.random.default_rng(seed)
    world = make_world(rows, seed=seed)
    examples = world.examples
    has_paid = (draw.random(rows) < 0.1).astype(float)
    is_test = draw.random(rows) < 0.5
    chance = np.where(is_test, 0.6, np.where(has_paid > 0, 0.9, 0.5))
    is_exposed = draw.random(rows) < chance
    log_odds = -3.6 + 2.0 * has_paid + 0.4 * examples.features["spirit"].to_numpy()
    moved = log_odds + is_exposed * np.array([shift.get(name, 0.0) for name in examples.event_types])
    if taste is not None:
        moved += 0.25 * is_exposed * taste.to_numpy()
    # Payments are few, so that the mean of exp() over a normal spirit is what the mean moves by.
    on_average = ((0.4 + slope) ** 2 - 0.4**2) / 2
    moved += is_exposed * (slope * examples.features["spirit"].to_numpy() - on_average)
    return (
        Examples(
            features=examples.features.assign(has_paid=has_paid),
            event_features=pd.DataFrame(index=range(rows)) if taste is None else taste.to_frame(AFFINITY),
            user_ids=examples.user_ids,
            event_types=examples.event_types,
            is_exposed=is_exposed,
            assignment_probability=np.where(is_test, 0.6, np.nan),
            reference_days=examples.reference_days,
            outcome=(draw.random(rows) < 1 / (1 + np.exp(-moved))).astype(float),
        ),
        1 / (1 + np.exp(-log_odds)),
    )


def _uplift(examples: Examples, expected: np.ndarray) -> UpliftModel:
    model = ConversionModel
    return fit_uplift(
        "chance",
        examples,
        expected,
        randomised_first=model.compares_randomised_first,
        evidence_needed=model.evidence_needed,
    )


def _fit(examples: Examples, expected: np.ndarray) -> str:
    return _uplift(examples, expected).chosen


def test_an_effect_on_paying_is_found_from_two_hundred_payments() -> None:
    examples, expected = _returned_users(3000, shift=dict.fromkeys(_TYPES, 0.6), seed=1)

    assert _fit(examples, expected) != "none"
    # The rows of tests alone would not have shown it.
    assert _fit(examples.take(examples.is_randomised), expected[examples.is_randomised]) == "none"

    model = ConversionModel(random_state=1).fit(examples)
    users = examples.features.iloc[:500]
    prediction = model.predict(users, examples.event_features.iloc[:500], "bonus")
    assert prediction.evidence == "adjusted"
    lift = np.log(prediction.with_event / (1 - prediction.with_event)) - np.log(
        prediction.without_event / (1 - prediction.without_event)
    )
    assert 0.25 < lift.mean() < 0.9


def test_differences_between_those_who_returned_are_no_effect_where_no_mean_is_shown() -> None:
    """Whom an event brought back, and whom it drove away, makes slopes among those seen, too."""
    examples, expected = _returned_users(6000, shift={}, slope=0.9, seed=4)
    uplift = _uplift(examples, expected)
    assert uplift.users is not None
    assert uplift.users.slopes.evidence > ConversionModel.evidence_needed
    assert uplift.users.levels.evidence < ConversionModel.evidence_needed
    assert uplift.chosen == "none"


def test_whom_an_event_suits_is_moved_more_where_payments_are_too_few_to_show_it() -> None:
    """Of a mean alone a plan invites whoever brings most money, moved or not."""
    rows = 3000
    taste = pd.Series(np.random.default_rng(11).normal(size=rows))
    examples, expected = _returned_users(rows, shift=dict.fromkeys(_TYPES, 0.6), seed=2, taste=taste)
    uplift = _uplift(examples, expected)
    assert uplift.chosen == "types"
    assert uplift.users is not None
    users = examples.features.iloc[:500]

    moved = uplift.predict(users, examples.event_features.iloc[:500], "bonus", expected[:500]).shift
    assert np.corrcoef(moved, taste[:500])[0, 1] > 0.95
    assert 0.05 < moved.std() < 0.5
    # One slope beside the means, and nothing else of the users.
    assert uplift.users.levels.means.shape[1] == 2
    restored = UpliftModel.from_state(uplift.to_state())
    again = restored.predict(users, examples.event_features.iloc[:500], "bonus", expected[:500]).shift
    assert (again == moved).all()


def test_where_events_move_no_payment_none_is_kept() -> None:
    """Of 100 runs at a level of 6 %, 12 or more would be a fault (2 %)."""
    found = 0
    for seed in range(RUNS):
        examples, expected = _returned_users(1500, shift={}, seed=seed)
        found += _fit(examples, expected) != "none"
    assert found <= 11
