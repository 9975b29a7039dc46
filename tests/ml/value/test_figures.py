"""The pictures of value are drawn from data that add up."""

import io

import numpy as np
import pytest

from ml.value.figures import distribution_data, distribution_figure, gain_data, gain_figure

CASES = pytest.mark.parametrize(
    "score", [[], [1.0], [0.0, 0.0], [-1.0, -2.0], list(np.random.default_rng(0).lognormal(1, 2, 3_000) - 8)]
)


@CASES
def test_every_user_is_in_one_bar(score: list[float]) -> None:
    data = distribution_data(score)
    assert data["users"].sum() == len(score)
    assert (data["high"] >= data["low"]).all()
    assert png(distribution_figure(data, currency="EUR"))


@CASES
def test_gain_rises_to_the_last_user_worth_inviting(score: list[float]) -> None:
    data = gain_data(score)
    assert data["gain"].iloc[0] == 0
    assert data["gain"].iloc[-1] == pytest.approx(sum(score))
    assert (data["gain"] >= data["gain_at_random"] - 1e-9 * abs(sum(score)) - 1e-9).all()
    assert data["gain"].max() == pytest.approx(sum(value for value in score if value > 0), rel=0.01)
    assert png(gain_figure(data))


def png(figure) -> bool:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    return buffer.getvalue().startswith(b"\x89PNG")
