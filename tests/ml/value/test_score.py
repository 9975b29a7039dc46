"""The money formula of the contract, by hand, and what it refuses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.value import (
    ValueModelError,
    ValueWeights,
    expected_incremental_value,
    rank_users,
    value_of_a_return,
    value_score,
)

CASE = {
    "p_return": [[0.30, 0.50], [0.10, 0.05]],
    "p_return_if_not_contacted": [0.20, 0.10],
    "p_conversion": [[0.5, 0.4], [0.2, 0.2]],
    "p_conversion_if_not_contacted": [0.4, 0.2],
    "revenue": [[100.0, 100.0], [50.0, 50.0]],
    "revenue_if_not_contacted": [90.0, 50.0],
    "reward_cost": [2.0, 10.0],
    "contact_cost": [0.5, 0.1],
}


def test_formula_by_hand() -> None:
    value = expected_incremental_value(**CASE)
    assert value == pytest.approx(
        np.array(
            [
                [0.3 * (0.5 * 100 - 2) - 0.2 * 0.4 * 90 - 0.5, 0.5 * (0.4 * 100 - 10) - 0.2 * 0.4 * 90 - 0.1],
                [0.1 * (0.2 * 50 - 2) - 0.1 * 0.2 * 50 - 0.5, 0.05 * (0.2 * 50 - 10) - 0.1 * 0.2 * 50 - 0.1],
            ]
        )
    )


def test_one_event_each_equals_the_matrix() -> None:
    matrix = expected_incremental_value(**CASE)
    column = {name: np.array(values)[..., 1] if np.ndim(values) == 2 else values for name, values in CASE.items()}
    column |= {"reward_cost": CASE["reward_cost"][1], "contact_cost": CASE["contact_cost"][1]}
    assert expected_incremental_value(**column) == pytest.approx(matrix[:, 1])


def test_weights_credit_only_what_the_event_adds() -> None:
    weights = ValueWeights(lifetime_value=0.5, social_influence=2.0)
    credited = value_of_a_return([1000.0, 10.0], [5.0, 0.0], weights)
    assert credited == pytest.approx([510.0, 5.0])
    plain = expected_incremental_value(**CASE)
    weighted = expected_incremental_value(**CASE, value_of_a_return=credited)
    uplift = np.array(CASE["p_return"]) - np.array(CASE["p_return_if_not_contacted"])[:, None]
    assert weighted - plain == pytest.approx(uplift * credited[:, None])


def test_without_weights_a_missing_lifetime_value_does_not_matter() -> None:
    assert value_of_a_return([np.nan, 3.0], [1.0, np.nan]) == pytest.approx([0.0, 0.0])


def test_no_event_is_an_empty_matrix() -> None:
    nothing = np.empty((2, 0))
    empty = CASE | {"p_return": nothing, "p_conversion": nothing, "revenue": nothing}
    assert expected_incremental_value(**(empty | {"reward_cost": [], "contact_cost": []})).shape == (2, 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"p_return": [[1.2, 0.5], [0.1, 0.1]]}, "p_return as chances"),
        ({"p_conversion": [[np.nan, 0.5], [0.1, 0.1]]}, "p_conversion"),
        ({"revenue": [[np.inf, 0.5], [0.1, 0.1]]}, "revenue"),
        ({"contact_cost": [1.0, 2.0, 3.0]}, "one value an event"),
        ({"p_return_if_not_contacted": [0.1, 0.2, 0.3]}, "one value a user"),
    ],
)
def test_wrong_input_is_refused_with_advice(change: dict, words: str) -> None:
    with pytest.raises(ValueModelError, match=words):
        expected_incremental_value(**(CASE | change))


def test_weights_are_checked() -> None:
    assert ValueWeights.from_mapping({"lifetime_value": 1}) == ValueWeights(lifetime_value=1.0)
    with pytest.raises(ValueModelError, match="friends"):
        ValueWeights.from_mapping({"friends": 1.0})
    with pytest.raises(ValueModelError, match="at least 0"):
        ValueWeights(lifetime_value=-1.0)


def test_users_without_an_event_are_worth_what_they_bring_alone() -> None:
    common = {"p_return_if_not_contacted": [0.1, 0.2, 0.3], "lifetime_value": [100.0, 50.0, np.nan]}
    assert value_score(expected_incremental_value=None, **common) == pytest.approx([10.0, 10.0, 0.0])
    mixed = value_score(expected_incremental_value=[-1.0, np.nan, 4.0], **common)
    assert mixed == pytest.approx([-1.0, 10.0, 4.0])


def test_ranks_have_a_full_tie_break() -> None:
    ranked = rank_users(["b", "a", "c"], [1.0, 1.0, 2.0], ["x", "x", "y"])
    assert ranked["rank"].tolist() == [3, 2, 1]
    assert ranked["percentile"].tolist() == pytest.approx([200 / 3, 200 / 3, 100.0])
    assert ranked["percentile_in_segment"].tolist() == pytest.approx([100.0, 100.0, 100.0])


@given(
    st.lists(
        st.tuples(*[st.floats(0, 1)] * 4, *[st.floats(-1e6, 1e6)] * 2, st.floats(0, 1e3), st.floats(0, 10)),
        min_size=1,
        max_size=20,
    )
)
def test_a_user_is_judged_alone(rows: list[tuple[float, ...]]) -> None:
    names = list(CASE)
    together = expected_incremental_value(**dict(zip(names, np.array(rows).T, strict=True)))
    alone = [expected_incremental_value(**dict(zip(names, np.array([row]).T, strict=True)))[0] for row in rows]
    assert together.tolist() == alone
