"""How much of an event's effect arrives over a channel: a message that is not noticed changes nothing.

A channel multiplies the shift that an event makes for a user. Its factor is estimated on the rows the shift was learned
from, relative to the other channels, and drawn towards 1 by how much channels really differ; where they do not, or
where it cannot be seen whether they do, every factor is 1.

Sources: DerSimonian and Laird (1986) for the spread between channels; Efron and Morris (1975) for the borrowing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml.response.shifts import MINIMUM_EACH_SIDE, random_effects

_STEPS = 25
# No channel is believed to carry less or more than this of what channels carry on average.
_BOUNDS = (0.2, 3.0)


@dataclass(frozen=True)
class ChannelFactors:
    """What each channel multiplies a shift by.

    Attributes:
        factors: factor by channel; 1 for every other channel.
        errors: standard error of each factor.
    """

    factors: Mapping[str, float]
    errors: Mapping[str, float]

    def of(self, channels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return factor and standard error of each row's channel (text, (rows,)), each (rows,)."""
        factor, error = np.ones(len(channels)), np.zeros(len(channels))
        for name in self.factors:
            rows = channels == name
            factor[rows], error[rows] = self.factors[name], self.errors[name]
        return factor, error

    def to_state(self) -> dict[str, Any]:
        """Return everything learned as JSON values."""
        return {"factors": dict(self.factors), "errors": dict(self.errors)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "ChannelFactors":
        """Rebuild from `to_state`."""
        return cls(dict(state["factors"]), dict(state["errors"]))


NO_FACTORS = ChannelFactors({}, {})


def fit_channel_factors(
    channels: np.ndarray,
    shift: np.ndarray,
    contrast: np.ndarray,
    offset: np.ndarray,
    outcome: np.ndarray,
) -> ChannelFactors:
    """Estimate what channels multiply a shift of the log odds by; arrays are of shape (rows,).

    Args:
        channels: channel of each row, also of those kept as controls; channels without enough of both have no factor.
        shift: shift of the log odds that the event makes for the row's user, over whatever channel.
        contrast: whether the row was exposed minus its chance to be.
        offset: log odds over both arms.
        outcome: 0 or 1.
    """
    found: dict[str, tuple[float, float]] = {}
    for name in sorted({str(channel) for channel in channels} - {"", "none"}):
        rows = channels == name
        exposed = rows & (contrast > 0)
        if min(exposed.sum(), rows.sum() - exposed.sum()) >= MINIMUM_EACH_SIDE:
            found[name] = _factor((contrast * shift)[rows], offset[rows], outcome[rows])
    if len(found) < 2:
        return NO_FACTORS
    effects, errors = (np.array(column) for column in zip(*found.values(), strict=True))
    mean, _, spread = random_effects(effects, errors)
    # Where all channels together carry nothing there is nothing to divide among them.
    if spread == 0 or mean <= 0:
        return NO_FACTORS
    trust = spread**2 / (spread**2 + errors**2)
    factors = np.clip((mean + trust * (effects - mean)) / mean, *_BOUNDS)
    # What is multiplied was learned over the mix of channels, so the mix must not change it.
    weights = np.array([(np.abs(contrast * shift) * (channels == name)).sum() for name in found])
    factors = factors / float(np.average(factors, weights=weights))
    return ChannelFactors(
        {name: round(float(factor), 6) for name, factor in zip(found, factors, strict=True)},
        {name: round(float(error), 6) for name, error in zip(found, np.sqrt(trust) * errors / mean, strict=True)},
    )


def _factor(towards: np.ndarray, offset: np.ndarray, outcome: np.ndarray) -> tuple[float, float]:
    """Maximum likelihood of the factor of `towards` on the log odds, and its standard error."""
    factor, information = 1.0, 0.0
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(offset + factor * towards, -30, 30)))
        information = float((towards**2 * chance * (1 - chance)).sum())
        if information <= 0:
            return 1.0, float("inf")
        step = float(np.clip((towards * (outcome - chance)).sum() / information, -1.0, 1.0))
        factor += step
        if abs(step) < 1e-9:
            break
    return factor, information**-0.5
