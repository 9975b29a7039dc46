"""What effects are estimated from: who was exposed to which event, what was known before, what came after."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from ml.effects.errors import EffectsError


@dataclass(frozen=True)
class Exposures:
    """Rows of one event type: users who were exposed to one of its events, kept back as control, or not exposed.

    Attributes:
        event_type: the type all rows belong to.
        user_ids: text, shape (rows,).
        event_ids: text, shape (rows,).
        channels: text, shape (rows,); of controls and unexposed users it is not used.
        segments: the user's segment at the moment of exposure, text, shape (rows,). A segment of today would not do:
            it knows who came back.
        is_exposed: bool, shape (rows,).
        assignment_probability: chance of being exposed where it was randomised, NaN elsewhere, shape (rows,).
        outcomes: what came after, by name, finite, each of shape (rows,). Chances are 0 or 1.
        costs: money that the row cost (contact, and reward where the user responded), 0 for rows not exposed.
        features: what was known strictly before the moment, one row each.
    """

    event_type: str
    user_ids: np.ndarray
    event_ids: np.ndarray
    channels: np.ndarray
    segments: np.ndarray
    is_exposed: np.ndarray
    assignment_probability: np.ndarray
    outcomes: dict[str, np.ndarray]
    costs: np.ndarray
    features: pd.DataFrame

    def __post_init__(self) -> None:
        rows = len(self.user_ids)
        lengths = {len(part) for part in (self.event_ids, self.channels, self.segments, self.is_exposed)}
        lengths |= {len(part) for part in (self.assignment_probability, self.costs, *self.outcomes.values())}
        if lengths | {len(self.features)} != {rows}:
            raise EffectsError("All parts of the exposures must have the same number of rows.")
        if not all(np.isfinite(values).all() for values in (*self.outcomes.values(), self.costs)):
            raise EffectsError("An outcome or cost is missing; keep only exposures whose windows have closed.")
        known = self.assignment_probability[np.isfinite(self.assignment_probability)]
        if ((known <= 0) | (known >= 1)).any():
            raise EffectsError("Assignment probabilities must lie strictly between 0 and 1.")

    def __len__(self) -> int:
        return len(self.user_ids)

    @property
    def is_randomised(self) -> np.ndarray:
        """Bool, shape (rows,): True where chance decided, with a known probability."""
        return np.isfinite(self.assignment_probability)

    @cached_property
    def user_codes(self) -> np.ndarray:
        """Integer of each row's user, 0 upwards, shape (rows,)."""
        return np.asarray(pd.factorize(self.user_ids)[0], dtype=np.int64)

    def take(self, chosen: np.ndarray) -> Exposures:
        """Return the chosen rows (a mask or positions), in their order."""
        positions = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return Exposures(
            event_type=self.event_type,
            user_ids=self.user_ids[positions],
            event_ids=self.event_ids[positions],
            channels=self.channels[positions],
            segments=self.segments[positions],
            is_exposed=self.is_exposed[positions],
            assignment_probability=self.assignment_probability[positions],
            outcomes={name: values[positions] for name, values in self.outcomes.items()},
            costs=self.costs[positions],
            features=self.features.iloc[positions].reset_index(drop=True),
        )
