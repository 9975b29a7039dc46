"""Why the chance of a chosen user is what it is: of the users asked for, whoever they are, in their order."""

import pytest

from ml.pipelines.reading import read_inactive_users
from ml.pipelines.reasons import explain_users
from ml.pipelines.rules import DecisionError
from ml.pipelines.train import train_models
from ml.registry import pack
from tests.ml.pipelines.house import DAY, House


def linear_return(house: House) -> str:
    """Put a model in charge that says silence lowers the chance, and nothing else does; return its version."""
    from ml.pipelines.model import open_registry
    from tests.ml.pipelines.test_fallback import flat_linear

    registry = open_registry(house.warehouse, house.settings)
    state = registry.load(registry.champion("scoring", DAY))
    learner = flat_linear(state, "days_since_last_activity")
    learner["coefficients"] = learner["coefficients"] - 1.0
    state["returns"]["baseline"]["learner"] = learner
    assert pack(state)
    return registry.save("scoring", state, as_of_date=DAY, parameters={}, metrics={}, promote=True).version


def test_users_are_told_why_in_the_order_asked_for(house: House) -> None:
    house.fill(users=40)
    train_models(DAY, house.settings)
    version = linear_return(house)
    users = read_inactive_users(house.warehouse, DAY)
    asked = [str(user) for user in users.index[::-2]]
    said = explain_users(house.warehouse, DAY, house.settings, asked, model_version=version)
    for user, text in zip(asked, said, strict=True):
        days = users["days_since_last_activity"][user]
        assert text == f"Return if left alone: last activity {days:.0f} days ago (lowers the chance)."
    assert len(explain_users(house.warehouse, DAY, house.settings, [], model_version="none")) == 0


def test_another_model_in_charge_does_not_explain_decisions_it_did_not_make(house: House) -> None:
    house.fill(users=40)
    train_models(DAY, house.settings)
    user = str(read_inactive_users(house.warehouse, DAY).index[0])
    with pytest.raises(DecisionError, match="The decisions rest on model other"):
        explain_users(house.warehouse, DAY, house.settings, [user], model_version="other")
