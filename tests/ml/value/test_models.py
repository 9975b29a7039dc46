"""Buy-till-you-die models: planted parameters are found, formulas agree with simulation, heavy buyers do no harm."""

import json
import zlib
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from ml.value import BetaGeometric, GammaGamma, ModifiedBetaGeometric, ParetoNBD, PurchaseModel, ValueModelError
from ml.value import spend as spend_module
from ml.value.likelihood import Curve
from ml.value.pareto import _mixture
from ml.value.purchases import group_purchases, group_with_members

PLANTED = {
    BetaGeometric: {"r": 0.6, "alpha": 25.0, "a": 0.8, "b": 2.5},
    ModifiedBetaGeometric: {"r": 0.6, "alpha": 25.0, "a": 0.8, "b": 2.5},
    ParetoNBD: {"r": 0.6, "alpha": 25.0, "s": 0.7, "beta": 60.0},
}
MODELS = pytest.mark.parametrize("kind", list(PLANTED))


def planted(kind: type[PurchaseModel]) -> PurchaseModel:
    return kind.from_parameters(**PLANTED[kind])


def histories(kind: type[PurchaseModel], customers: int, *, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simulated customers of 200 to 400 days whose last purchase is noted by the day."""
    random = np.random.default_rng(seed)
    T = random.integers(200, 400, customers).astype(float)
    x, t_x = planted(kind).simulate(T, random_state=random)
    return x, np.clip(np.round(t_x), x > 0, T), T


@MODELS
def test_planted_parameters_are_found_in_a_million_customers(kind: type[PurchaseModel]) -> None:
    model = kind().fit(*histories(kind, 1_000_000, seed=5))
    assert model.is_converged_
    for name, truth in PLANTED[kind].items():
        assert abs(model.parameters_[name] - truth) < 2 * model.standard_errors_[name], name
        assert model.standard_errors_[name] < 0.05 * truth


def test_planted_amounts_are_found() -> None:
    random = np.random.default_rng(8)
    customers = 300_000
    x = random.geometric(0.4, customers)
    rate = random.gamma(3.7, 1 / 15.0, customers)
    z = random.gamma(6.2 * x, 1 / (rate * x))
    model = GammaGamma().fit(x, z)
    for name, truth in {"p": 6.2, "q": 3.7, "v": 15.0}.items():
        assert abs(model.parameters_[name] - truth) < 2 * model.standard_errors_[name], name
    # The expectation is right on average for every history: next purchases of these very customers.
    upcoming = random.gamma(6.2, 1 / rate)
    expected = model.expected_spend(x, z)
    for count in (1, 2, 5):
        assert upcoming[x == count].mean() == pytest.approx(expected[x == count].mean(), rel=0.03)


def check_derivatives(curve: Callable[[np.ndarray], Curve], at: np.ndarray) -> None:
    _, gradient, hessian = curve(at)
    for position in range(len(at)):
        step = np.zeros(len(at))
        step[position] = 1e-5 * at[position]
        above, below = curve(at + step), curve(at - step)
        assert (above[0] - below[0]) / (2 * step[position]) == pytest.approx(gradient[position], rel=1e-5, abs=1e-5)
        numeric = (above[1] - below[1]) / (2 * step[position])
        np.testing.assert_allclose(numeric, hessian[position], rtol=1e-4, atol=1e-4)


@MODELS
def test_derivatives(kind: type[PurchaseModel]) -> None:
    groups = group_purchases(*histories(kind, 500, seed=1)).scaled(100)
    for at in ([0.3, 0.2, 0.7, 2.0], [1.5, 3.0, 2.0, 0.4]):
        check_derivatives(kind()._curve(groups), np.array(at))


def test_derivatives_of_amounts() -> None:
    random = np.random.default_rng(0)
    check_derivatives(
        spend_module._curve(random.integers(1, 5, 200).astype(float), random.lognormal(1, 0.5, 200)),
        np.array([3.0, 2.0, 1.5]),
    )


@MODELS
def test_expectations_agree_with_simulation(kind: type[PurchaseModel]) -> None:
    model = planted(kind)
    newcomers = np.full(400_000, 180.0)
    x, _ = model.simulate(newcomers, random_state=3)
    assert x.mean() == pytest.approx(model.expected_purchases_of_new_customer(180.0), rel=0.01)
    for history in ((0, 0.0, 100.0), (3, 80.0, 100.0), (3, 20.0, 300.0)):
        who = tuple(np.full(200_000, value) for value in history)
        future = model.simulate_future(90.0, *who, random_state=4)
        assert future.mean() == pytest.approx(model.expected_purchases(90.0, *history)[0], rel=0.03, abs=2e-3)


@MODELS
def test_future_of_simulated_customers_agrees_with_expectation(kind: type[PurchaseModel]) -> None:
    """Bayes turned round: customers of one world, watched on, buy as often as their histories let expect."""
    model = planted(kind)
    long = np.full(300_000, 400.0)
    random = np.random.default_rng(9)
    # Histories up to day 250 and to day 400 of the same customers need a joint draw: total minus seen, on average.
    x_long, _ = model.simulate(long, random_state=random)
    x, t_x = model.simulate(np.full(300_000, 250.0), random_state=random)
    expected = model.expected_purchases(150.0, x, t_x, np.full(300_000, 250.0))
    assert expected.mean() == pytest.approx(x_long.mean() - x.mean(), rel=0.04)


@MODELS
def test_heavy_buyers_and_edges_stay_finite(kind: type[PurchaseModel]) -> None:
    model = planted(kind)
    x = np.array([0.0, 0.0, 1.0, 1.0, 1_000.0, 1_000_000.0, 1_000_000.0])
    t_x = np.array([0.0, 0.0, 300.0, 0.0, 299.0, 300.0, 1.0])
    T = np.array([0.0, 300.0, 300.0, 300.0, 300.0, 300.0, 300.0])
    chances, expected = model.p_alive(x, t_x, T), model.expected_purchases(365.0, x, t_x, T)
    assert ((chances >= 0) & (chances <= 1)).all()
    assert np.isfinite(expected).all()
    assert (expected >= 0).all()
    assert chances[-1] < 1e-6 < 0.5 < chances[-2]
    value, gradient, hessian = model._curve(group_purchases(x, t_x, T))(np.array(model._values()))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert np.isfinite(hessian).all()


@pytest.mark.parametrize("kind", [BetaGeometric, ModifiedBetaGeometric])
@pytest.mark.parametrize(("a", "b"), [(1.0, 2.0), (0.4, 0.6), (1.0 + 1e-9, 0.5), (0.3, 0.7 + 1e-12)])
def test_no_gap_where_the_formula_divides_by_nothing(kind: type[PurchaseModel], a: float, b: float) -> None:
    exact = kind.from_parameters(r=0.6, alpha=25.0, a=a, b=b)
    beside = kind.from_parameters(r=0.6, alpha=25.0, a=a * 1.001, b=b)
    for x in (0, 1, 7):
        here = exact.expected_purchases(100, x, 50 if x else 0, 100)[0]
        assert here == pytest.approx(beside.expected_purchases(100, x, 50 if x else 0, 100)[0], rel=0.01)
        assert here > 0


@pytest.mark.parametrize("kind", [BetaGeometric, ModifiedBetaGeometric])
def test_parameters_that_ran_away_still_give_figures(kind: type[PurchaseModel]) -> None:
    """With a and b in the thousands everybody stops with the same chance: 1 in 3 at each purchase."""
    far = kind.from_parameters(r=0.6, alpha=25.0, a=20_000.0, b=40_000.0)
    expected = far.expected_purchases_if_alive(1e6, np.array([0.0, 3.0]), np.array([100.0, 100.0]))
    assert expected == pytest.approx(3.0, rel=0.1)


def test_pareto_integral_agrees_with_adaptive_quadrature() -> None:
    random = np.random.default_rng(2)
    for _ in range(60):
        r, s = np.exp(random.uniform(-2, 1.5, 2))
        alpha, beta = np.exp(random.uniform(-4, 4, 2))
        x, T = float(random.choice([0, 1, 2, 5, 20, 200])), float(np.exp(random.uniform(-3, 5)))
        t_x = T * random.random() ** 2 if x else 0.0
        scale = -(r + x) * np.log(alpha + t_x) - (s + 1) * np.log(beta + t_x)

        def stopped_at(tau: float, r=r, s=s, alpha=alpha, beta=beta, x=x, scale=scale) -> float:
            return s * np.exp(-(r + x) * np.log(alpha + tau) - (s + 1) * np.log(beta + tau) - scale)

        edges = t_x + (T - t_x) * np.concatenate([[0.0], np.logspace(-6, 0, 40)])
        exact = sum(quad(stopped_at, *edge, epsabs=0, epsrel=1e-12)[0] for edge in pairwise(edges))
        logarithms, _ = _mixture(np.array([r, alpha, s, beta]), *(np.array([value]) for value in (x, t_x, T)))
        assert np.logaddexp.reduce(logarithms[0, 1:]) - scale == pytest.approx(np.log(exact), abs=1e-9)


@MODELS
def test_groups_and_order_change_nothing(kind: type[PurchaseModel]) -> None:
    x, t_x, T = histories(kind, 3_000, seed=2)
    model = kind().fit(x, t_x, T)
    order = np.random.default_rng(0).permutation(len(x))
    assert kind().fit(x[order], t_x[order], T[order]).parameters_ == model.parameters_
    apart = kind().fit(np.tile(x, 3), np.tile(t_x, 3), np.tile(T, 3))
    assert apart.parameters_ == pytest.approx(model.parameters_, rel=1e-6)
    assert apart.log_likelihood_ == pytest.approx(3 * model.log_likelihood_)
    together = model.expected_purchases(30, x[:50], t_x[:50], T[:50])
    alone = [model.expected_purchases(30, *one)[0] for one in zip(x[:50], t_x[:50], T[:50], strict=True)]
    assert together.tolist() == alone


def test_groups_hold_every_history_once() -> None:
    random = np.random.default_rng(4)
    for unit in (1.0, 1 / 7):
        x = random.integers(0, 4, 5_000).astype(float)
        T = random.integers(1, 30, 5_000) * unit
        t_x = np.where(x > 0, np.minimum(random.integers(0, 30, 5_000) * unit, T), 0.0)
        groups = group_purchases(x, t_x, T)
        table = np.stack([groups.x, groups.t_x, groups.T], axis=1)
        assert len(np.unique(table, axis=0)) == len(table)
        assert groups.total == 5_000
        counts, recency, age, members = group_with_members(x, t_x, T)
        np.testing.assert_array_equal(np.stack([counts, recency, age])[:, members], np.stack([x, t_x, T]))


@MODELS
def test_state_survives_json_and_arrays(kind: type[PurchaseModel]) -> None:
    x, t_x, T = histories(kind, 2_000, seed=2)
    model = kind().fit(x, t_x, T)
    state = model.to_state()
    plain = json.loads(json.dumps({key: value for key, value in state.items() if not isinstance(value, np.ndarray)}))
    rebuilt = kind.from_state({**state, **plain})
    assert rebuilt.parameters_ == model.parameters_
    assert rebuilt.standard_errors_ == model.standard_errors_
    assert (rebuilt.p_alive(x, t_x, T) == model.p_alive(x, t_x, T)).all()


def test_wrong_input_is_refused_with_advice() -> None:
    for history, words in (
        (([1.0], [5.0], [4.0]), "t_x <= T"),
        (([0.0], [1.0], [4.0]), "t_x to 0"),
        (([-1.0], [0.0], [4.0]), "repeat purchases"),
        (([np.nan], [0.0], [4.0]), "repeat purchases"),
        (([1.0, 2.0], [1.0, 1.0, 1.0], [4.0]), "same customers"),
        (([], [], []), "at least one"),
        (([0.0], [0.0], [0.0]), "Wait a day"),
    ):
        with pytest.raises(ValueModelError, match=words):
            BetaGeometric().fit(*history)
    with pytest.raises(ValueModelError, match="fit first"):
        BetaGeometric().p_alive(1, 1, 2)
    with pytest.raises(ValueModelError, match="horizon"):
        planted(BetaGeometric).expected_purchases(-1, 1, 1, 2)
    with pytest.raises(ValueModelError, match="positive"):
        BetaGeometric.from_parameters(r=1.0, alpha=-1.0, a=1.0, b=1.0)
    with pytest.raises(ValueModelError, match="amount above 0"):
        GammaGamma().fit([1, 2], [10.0, -5.0])


def test_too_little_data_is_said_and_a_prior_helps() -> None:
    history = ([1.0] * 100, [50.0] * 100, [100.0] * 100)
    assert not BetaGeometric().fit(*history).is_converged_
    assert BetaGeometric().fit(*history).messages_
    assert BetaGeometric(prior_strength=5.0).fit(*history).is_converged_


@MODELS
def test_bootstrap_intervals_cover_the_truth(kind: type[PurchaseModel]) -> None:
    """In 90 to 99 % of 200 small worlds the interval of total purchases to come holds what then happens."""
    worlds, held = 200, 0
    for world in range(worlds):
        x, t_x, T = histories(kind, 300, seed=1_000 + world)
        model = kind().fit(x, t_x, T)
        # What then happens is drawn from the truth, not from the fit.
        truth = planted(kind).simulate_future(180.0, x, t_x, T, random_state=world).sum()
        interval = model.total_interval(180.0, x, t_x, T, draws=39, random_state=world)
        held += interval.low <= truth <= interval.high
    assert 0.90 <= held / worlds <= 0.99


def test_bootstrap_spread_agrees_with_standard_errors() -> None:
    x, t_x, T = histories(BetaGeometric, 20_000, seed=7)
    model = BetaGeometric().fit(x, t_x, T)
    replicas = model.bootstrap(T, draws=60, random_state=zlib.crc32(b"bootstrap"))
    for name, error in model.standard_errors_.items():
        assert np.std([one.parameters_[name] for one in replicas]) == pytest.approx(error, rel=0.4)
