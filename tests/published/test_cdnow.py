"""Figures of the literature on lifetime value, found again on the CDNOW sample."""

import numpy as np
import pandas as pd
import pytest

from ml.value import BetaGeometric, GammaGamma, ModifiedBetaGeometric, ParetoNBD
from tests.published.cdnow import calibration, summary

# Parameters 0.2 % relative, log-likelihood 0.01, predictions 0.1 %.
PARAMETER, PREDICTION, LIKELIHOOD = 2e-3, 1e-3, 0.01
HEAVY_BUYER = {"x": 26, "t_x": 30.857, "T": 31}


@pytest.fixture(scope="module")
def customers() -> pd.DataFrame:
    return calibration()


@pytest.fixture(scope="module")
def bg_nbd(customers: pd.DataFrame) -> BetaGeometric:
    return BetaGeometric().fit(customers["x"], customers["t_x"], customers["T"])


@pytest.fixture(scope="module")
def pareto(customers: pd.DataFrame) -> ParetoNBD:
    return ParetoNBD().fit(customers["x"], customers["t_x"], customers["T"])


def test_features(customers: pd.DataFrame) -> None:
    assert len(customers) == 2357
    assert customers["x"].sum() == 2457
    assert (customers["x"] > 0).sum() == 946
    assert customers["t_x"].sum() == pytest.approx(16135.571, abs=1e-3)
    assert customers["T"].sum() == pytest.approx(77111.286, abs=1e-3)
    assert customers["z"].mean() == pytest.approx(35.0778, abs=1e-4)
    assert customers["z"].std() == pytest.approx(30.2835, abs=1e-4)
    assert customers["holdout"].sum() == 1882


def test_bg_nbd(bg_nbd: BetaGeometric) -> None:
    assert bg_nbd.is_converged_
    assert bg_nbd.parameters_ == pytest.approx(
        {"r": 0.2425945, "alpha": 4.413602, "a": 0.792922, "b": 2.425907}, rel=PARAMETER
    )
    assert bg_nbd.log_likelihood_ == pytest.approx(-9582.4292, abs=LIKELIHOOD)
    assert bg_nbd.expected_purchases_of_new_customer(52) == pytest.approx(1.444004, rel=PREDICTION)
    assert bg_nbd.expected_purchases(52, **HEAVY_BUYER)[0] == pytest.approx(25.75659, rel=PREDICTION)
    assert bg_nbd.p_alive(**HEAVY_BUYER)[0] == pytest.approx(0.9688523, rel=PREDICTION)


def test_pareto_nbd(pareto: ParetoNBD) -> None:
    assert pareto.is_converged_
    assert pareto.parameters_ == pytest.approx(
        {"r": 0.553277, "alpha": 10.577683, "s": 0.606240, "beta": 11.668735}, rel=PARAMETER
    )
    assert pareto.log_likelihood_ == pytest.approx(-9594.9762, abs=LIKELIHOOD)
    assert pareto.standard_errors_ == pytest.approx(
        {"r": 0.0476264, "alpha": 0.8427222, "s": 0.1872594, "beta": 6.2105448}, rel=1e-3
    )
    assert pareto.expected_purchases_of_new_customer(52) == pytest.approx(1.473434, rel=PREDICTION)
    assert pareto.expected_purchases(52, **HEAVY_BUYER)[0] == pytest.approx(25.45647, rel=PREDICTION)
    assert pareto.p_alive(**HEAVY_BUYER)[0] == pytest.approx(0.997874, rel=PREDICTION)


def test_mbg_nbd() -> None:
    rounded = summary()
    model = ModifiedBetaGeometric().fit(rounded["x"], rounded["t_x"], rounded["T"])
    assert model.parameters_ == pytest.approx(
        {"r": 0.524838, "alpha": 6.182991, "a": 0.891356, "b": 1.613999}, rel=PARAMETER
    )
    assert model.log_likelihood_ == pytest.approx(-9582.1327, abs=LIKELIHOOD)


def test_gamma_gamma(customers: pd.DataFrame) -> None:
    model = GammaGamma().fit(customers["x"], customers["z"])
    assert model.customers_ == 946
    assert model.parameters_ == pytest.approx({"p": 6.249573, "q": 3.744224, "v": 15.443518}, rel=PARAMETER)
    assert model.log_likelihood_ == pytest.approx(-4055.9177, abs=LIKELIHOOD)
    first_ten = model.expected_spend(customers["x"], customers["z"])[:10]
    assert first_ten == pytest.approx([24.65, 18.91, 35.17, 35.17, 35.17, 71.46, 18.91, 35.17, 27.28, 35.17], abs=0.1)


def test_heavy_buyers_do_not_overflow() -> None:
    model = ParetoNBD.from_parameters(r=0.5143, alpha=2.8845, s=0.2856, beta=14.1087)
    chances = model.p_alive(
        [221, 254, 161, 204], [103.42857, 97.14286, 94.71429, 98.57143], [103.57143, 97.28571, 98, 99.42857]
    )
    assert np.isfinite(chances).all()
    assert ((chances > 0) & (chances <= 1)).all()


def test_errors_by_bg_nbd_and_pareto_nbd_on_the_holdout(
    customers: pd.DataFrame, bg_nbd: BetaGeometric, pareto: ParetoNBD
) -> None:
    """39 weeks later: the models that score daily may lose at most 1 % against the costly Pareto/NBD."""
    who = (customers["x"], customers["t_x"], customers["T"])

    def error(expected: np.ndarray) -> float:
        return float(np.sqrt(((expected - customers["holdout"]) ** 2).mean()))

    modified = ModifiedBetaGeometric().fit(*who)
    best = error(pareto.expected_purchases(39, *who))
    assert error(bg_nbd.expected_purchases(39, *who)) <= 1.01 * best
    assert error(modified.expected_purchases(39, *who)) <= 1.01 * best
    # Better than "as before": the rate of the calibration period carried on.
    assert best < 0.9 * error(customers["x"] / customers["T"] * 39)


def test_the_unit_of_time_does_not_matter(customers: pd.DataFrame, bg_nbd: BetaGeometric, pareto: ParetoNBD) -> None:
    for weekly in (bg_nbd, pareto):
        daily = type(weekly)().fit(customers["x"], (customers["t_x"] * 7).round(), (customers["T"] * 7).round())
        for name, value in weekly.parameters_.items():
            factor = 7 if name in ("alpha", "beta") else 1
            assert daily.parameters_[name] == pytest.approx(factor * value, rel=1e-5)
        assert daily.expected_purchases(364, 2, 100, 200) == pytest.approx(
            weekly.expected_purchases(52, 2, 100 / 7, 200 / 7), rel=1e-5
        )
