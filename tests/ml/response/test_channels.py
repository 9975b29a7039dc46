"""Channels carry different parts of an effect, and the same part where nothing says otherwise."""

import numpy as np
import pytest

from ml.response.channels import NO_FACTORS, ChannelFactors, fit_channel_factors

_REACH = {"email": 0.45, "push": 0.6, "sms": 0.85}


def _world(reach: dict[str, float], *, rows: int = 120_000, seed: int = 1) -> tuple[np.ndarray, ...]:
    """Invite half of the users over a random channel; who notices is moved by a shift that differs between users."""
    draw = np.random.default_rng(seed)
    channels = draw.choice(np.array(list(reach), dtype=object), rows)
    shift = draw.normal(0.8, 0.5, rows)
    is_exposed = draw.random(rows) < 0.5
    factor = np.array([reach[name] for name in channels])
    start = np.full(rows, -1.5)
    outcome = (draw.random(rows) < 1 / (1 + np.exp(-(start + is_exposed * factor * shift)))).astype(float)
    contrast = is_exposed - 0.5
    return channels, shift, contrast, start + 0.5 * factor * shift, outcome


def test_factors_follow_what_channels_carry() -> None:
    factors = fit_channel_factors(*_world(_REACH))

    mean = np.mean(list(_REACH.values()))
    for name, reach in _REACH.items():
        assert factors.factors[name] == pytest.approx(reach / mean, abs=3 * factors.errors[name])
        assert factors.errors[name] < 0.1
    assert factors.factors["email"] < factors.factors["push"] < factors.factors["sms"]


def test_equal_channels_stay_equal() -> None:
    spreads = []
    for seed in range(20):
        factors = fit_channel_factors(*_world(dict.fromkeys(_REACH, 0.6), rows=20_000, seed=seed))
        spreads.append(max((abs(factor - 1) for factor in factors.factors.values()), default=0.0))

    # Half of the time the estimated spread is exactly nothing, else it is small.
    assert np.mean(np.array(spreads) == 0) >= 0.4
    assert np.median(spreads) < 0.05


def test_a_channel_with_controls_under_another_name_has_no_factor() -> None:
    channels, shift, contrast, offset, outcome = _world(_REACH, rows=20_000)
    channels = np.where((channels == "sms") & (contrast < 0), "none", channels)

    assert "sms" not in fit_channel_factors(channels, shift, contrast, offset, outcome).factors


def test_one_channel_is_the_mix() -> None:
    assert fit_channel_factors(*_world({"push": 0.6}, rows=2_000)) == NO_FACTORS


def test_an_unknown_channel_is_the_mix_of_all() -> None:
    factors = ChannelFactors.from_state(ChannelFactors({"push": 1.2}, {"push": 0.1}).to_state())

    factor, error = factors.of(np.array(["push", "fax", ""], dtype=object))

    assert factor.tolist() == [1.2, 1.0, 1.0]
    assert error.tolist() == [0.1, 0.0, 0.0]
