"""How unsure the gain of a plan is: what is unsure of effects, carried over to money."""

import numpy as np
import pytest

from ml.pipelines.doubt import error_of_plans
from ml.pipelines.matrix import response_matrix
from ml.pipelines.model import open_registry
from ml.pipelines.rules import DecisionError
from ml.pipelines.train import train_models
from tests.ml.pipelines.house import DAY, House


def put_in_charge(house: House, **errors: float) -> None:
    """Put a model in charge whose effects on some outcomes are means with such standard errors, on others none."""
    registry = open_registry(house.warehouse, house.settings)
    state = registry.load(registry.champion("scoring", DAY))
    for outcome in ("returns", "conversions", "revenues"):
        effect = {"effect": 0.4, "standard_error": errors.get(outcome, 9.0), "evidence": "randomised"}
        chosen = "types" if outcome in errors else "none"
        pooled = {**state[outcome]["uplift"]["pooled"], **effect}
        state[outcome]["uplift"] |= {"chosen": chosen, "pooled": pooled, "types": [], "users": None}
    registry.save("scoring", state, as_of_date=DAY, parameters={}, metrics={}, promote=True)


def test_errors_of_effects_become_money(house: House) -> None:
    house.fill(users=60)
    train_models(DAY, house.settings)
    put_in_charge(house, returns=0.3, conversions=0.2)
    matrix = response_matrix(house.warehouse, DAY, house.settings)
    users = np.arange(len(matrix.user_ids))[::2]
    events = np.arange(len(users)) % len(matrix.events)
    channels = np.full(len(users), "email", dtype=object)
    error = error_of_plans(house.warehouse, matrix, house.settings)(users, events, channels)
    returned, converted, revenue = (
        part[users, events].astype(float) for part in (matrix.p_return, matrix.p_conversion, matrix.revenue)
    )
    reward = matrix.events["reward_cost"].to_numpy(dtype=float)[events]
    of_returns = returned * (1 - returned) * (converted * revenue - reward)
    of_conversions = converted * (1 - converted) * returned * revenue
    types = matrix.events["event_type"].to_numpy(dtype=object)[events]
    squares = [
        (0.3 * of_returns[types == name].sum()) ** 2 + (0.2 * of_conversions[types == name].sum()) ** 2
        for name in set(types)
    ]
    assert error == pytest.approx(np.sqrt(sum(squares)), rel=1e-6)
    assert error > 0


def test_effects_that_are_taken_for_nothing_are_not_doubted(house: House) -> None:
    house.fill(users=40)
    train_models(DAY, house.settings)
    put_in_charge(house)
    matrix = response_matrix(house.warehouse, DAY, house.settings)
    nobody = np.zeros(1, dtype=np.int64)
    error = error_of_plans(house.warehouse, matrix, house.settings)
    assert error(nobody, nobody, np.array(["email"], dtype=object)) == 0.0
    put_in_charge(house, returns=0.3)
    with pytest.raises(DecisionError, match="is in charge by now"):
        error(nobody, nobody, np.array(["email"], dtype=object))
