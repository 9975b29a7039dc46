"""Lifetime value for everybody: one payment, none, refunds above payments, one huge payment, and the discount."""

import json

import numpy as np
import pandas as pd
import pytest

from ml.value import LifetimeValueModel, ModifiedBetaGeometric, ValueModelError

KINDS = pytest.mark.parametrize("kind", ["bg_nbd", "mbg_nbd", "pareto_nbd"])
NOBODY = np.nan


def payers(count: int = 3_000, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Two thirds of the users pay; columns x, t_x, T, z in days and money."""
    random = np.random.default_rng(seed)
    T = random.integers(50, 400, count).astype(float)
    x, t_x = ModifiedBetaGeometric.from_parameters(r=0.6, alpha=25, a=0.8, b=2.5).simulate(T, random_state=random)
    spend = random.gamma(6.0 * np.maximum(x, 1), 1 / (random.gamma(4.0, 1 / 90.0, count) * np.maximum(x, 1)))
    table = {"x": x, "t_x": np.round(t_x), "T": T, "z": np.where(x > 0, spend, np.nan)}
    for column in table.values():
        column[2 * count // 3 :] = np.nan
    return table


@KINDS
def test_figures_hang_together(kind: str) -> None:
    table = payers()
    model = LifetimeValueModel(purchase_model=kind).fit(**table)
    assert model.messages_ == ()
    users = model.predict(**table, horizon_days=365)
    paid = ~np.isnan(table["T"])
    assert users.loc[~paid, "p_alive"].isna().all()
    assert (users.loc[~paid, ["expected_purchases", "lifetime_value", "lifetime_value_if_alive"]] == 0).all(axis=None)
    seen = users[paid]
    assert seen["p_alive"].between(0, 1).all()
    assert seen["lifetime_value"].to_numpy() == pytest.approx(seen["expected_purchases"] * seen["expected_spend"])
    assert seen["lifetime_value"].to_numpy() == pytest.approx(seen["p_alive"] * seen["lifetime_value_if_alive"])
    longer = model.predict(**table, horizon_days=730)
    assert (longer["lifetime_value"] >= users["lifetime_value"]).all()


def test_discount_makes_later_money_smaller() -> None:
    table = payers()
    plain = LifetimeValueModel().fit(**table).predict(**table)["lifetime_value"].sum()
    discounted = LifetimeValueModel(yearly_discount=0.2).fit(**table).predict(**table)["lifetime_value"].sum()
    # Money comes over a year, rather early in it: between half a year's discount and a little less.
    assert plain * 1.2**-0.5 < discounted < plain * 1.2**-0.3


def test_a_user_is_judged_alone() -> None:
    table = payers()
    model = LifetimeValueModel(yearly_discount=0.1).fit(**table)
    together = model.predict(**{name: column[:60] for name, column in table.items()})
    for row in range(60):
        alone = model.predict(**{name: column[row : row + 1] for name, column in table.items()})
        pd.testing.assert_series_equal(alone.iloc[0], together.iloc[row], check_names=False, check_exact=True)


@KINDS
@pytest.mark.parametrize(
    ("case", "words"),
    [
        ({"x": [NOBODY] * 3, "t_x": [NOBODY] * 3, "T": [NOBODY] * 3, "z": [NOBODY] * 3}, "Nobody paid"),
        ({"x": [0], "t_x": [0], "T": [100], "z": [NOBODY]}, "Only 0 of 1 payers"),
        ({"x": [0] * 80, "t_x": [0] * 80, "T": [50] * 80, "z": [NOBODY] * 80}, "Only 0 of 80 payers"),
        ({"x": [0, NOBODY], "t_x": [0, NOBODY], "T": [0, NOBODY], "z": [NOBODY] * 2}, "first time today"),
        ({"x": [2, 1], "t_x": [20, 5], "T": [100, 30], "z": [-5, 10]}, "refunds above payments"),
        ({"x": [3], "t_x": [50], "T": [100], "z": [1e12]}, "Only 1 of 1 payers"),
        ({"x": [1] * 90, "t_x": [50] * 90, "T": [99] * 90, "z": [7.0] * 90}, "assumption"),
    ],
)
def test_thin_data_give_a_plain_answer_and_say_so(kind: str, case: dict, words: str) -> None:
    model = LifetimeValueModel(purchase_model=kind).fit(**case)
    assert any(words in message for message in model.messages_), model.messages_
    users = model.predict(**case)
    money = users[["expected_purchases", "expected_spend", "lifetime_value", "lifetime_value_if_alive"]]
    assert np.isfinite(money).all(axis=None)
    assert (money >= 0).all(axis=None)
    rebuilt = LifetimeValueModel.from_state(json.loads(json.dumps(listed(model.to_state()))))
    pd.testing.assert_frame_equal(rebuilt.predict(**case), users)
    assert rebuilt.messages_ == model.messages_


def listed(state: dict) -> dict:
    return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in state.items()}


def test_first_payments_stand_in_where_nobody_bought_again() -> None:
    case = {"x": [0.0] * 80, "t_x": [0.0] * 80, "T": [50.0] * 80, "z": [np.nan] * 80}
    model = LifetimeValueModel().fit(**case, mean_amount=[20.0] * 79 + [np.nan])
    assert model.predict(**case)["expected_spend"].to_numpy() == pytest.approx(20.0)


def test_one_huge_payment_moves_nobody_else() -> None:
    table = payers()
    plain = LifetimeValueModel().fit(**table).predict(**table)
    whale = int(np.flatnonzero(table["x"] > 0)[0])
    table["z"][whale] = 1e12
    model = LifetimeValueModel().fit(**table)
    assert any("out of all proportion" in message for message in model.messages_)
    users = model.predict(**table)
    others = np.arange(len(users)) != whale
    assert users["lifetime_value"][others].sum() == pytest.approx(plain["lifetime_value"][others].sum(), rel=0.02)
    assert plain["lifetime_value"][whale] < users["lifetime_value"][whale] < 1e6


def test_amounts_without_spread_fall_back() -> None:
    table = payers()
    table["z"] = np.where(table["x"] > 0, 9.99, np.nan)
    model = LifetimeValueModel().fit(**table)
    assert model.spend_ is None
    paid = ~np.isnan(table["T"])
    assert model.predict(**table)["expected_spend"][paid].to_numpy() == pytest.approx(9.99)


def test_the_default_doubts_those_who_paid_once() -> None:
    """A BG/NBD takes everybody who paid once for alive for ever; who wants the lapsed back needs better."""
    table = payers()
    once = {"x": [0.0], "t_x": [0.0], "T": [390.0], "z": [np.nan]}
    assert LifetimeValueModel().fit(**table).predict(**once)["p_alive"][0] < 0.7
    assert LifetimeValueModel(purchase_model="bg_nbd").fit(**table).predict(**once)["p_alive"][0] == 1.0


def test_errors_say_what_to_do() -> None:
    with pytest.raises(ValueModelError, match="purchase_model"):
        LifetimeValueModel(purchase_model="poisson")
    with pytest.raises(ValueModelError, match="yearly_discount"):
        LifetimeValueModel(yearly_discount=-0.1)
    with pytest.raises(ValueModelError, match="fit first"):
        LifetimeValueModel().predict([1], [1], [2], [3])
    with pytest.raises(ValueModelError, match="same users"):
        LifetimeValueModel().fit([1, 2], [1], [2], [3])
    with pytest.raises(ValueModelError, match="horizon_days"):
        LifetimeValueModel().fit(**payers(300)).predict([1], [1], [2], [3], horizon_days=0)
