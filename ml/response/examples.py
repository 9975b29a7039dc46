"""What the learners of this room are taught with: past exposures, what was known before them, what came after."""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd


class ResponseError(ValueError):
    """The examples or features cannot be used; the message says what to change."""


@dataclass(frozen=True)
class Examples:
    """One row per user and past moment at which the user was exposed, kept as a control, or neither.

    Attributes:
        features: user features known strictly before the moment; numeric (missing = NaN) or text columns.
        event_features: features of the user towards this type of event, same rows; may have no columns.
        user_ids: text, shape (rows,).
        event_types: text, shape (rows,); "" for a moment that belongs to no event.
        is_exposed: bool, True where the user was invited.
        assignment_probability: chance of being invited where it was randomised, NaN elsewhere.
        reference_days: days since 1970-01-01 of the moment, int64.
        outcome: what happened afterwards: 0/1 for a chance, money (>= 0) for an amount.
        channels: channel of the invitation, or over which a control would have been invited, text, shape (rows,); ""
            where it is not known. Left out, no channel is known.
    """

    features: pd.DataFrame
    event_features: pd.DataFrame
    user_ids: np.ndarray
    event_types: np.ndarray
    is_exposed: np.ndarray
    assignment_probability: np.ndarray
    reference_days: np.ndarray
    outcome: np.ndarray
    channels: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=object))

    def __post_init__(self) -> None:
        rows = len(self.features)
        if len(self.channels) == 0:
            object.__setattr__(self, "channels", np.full(rows, "", dtype=object))
        parts = (self.user_ids, self.event_types, self.is_exposed, self.assignment_probability, self.channels)
        if any(len(part) != rows for part in (*parts, self.event_features, self.reference_days, self.outcome)):
            raise ResponseError("All parts of the examples must have the same number of rows.")
        if not np.isfinite(self.outcome).all():
            raise ResponseError("An outcome is missing or infinite; keep only examples whose window has closed.")

    def __len__(self) -> int:
        return len(self.features)

    @property
    def is_randomised(self) -> np.ndarray:
        """Bool, shape (rows,): True where chance decided who was invited."""
        return np.isfinite(self.assignment_probability)

    def without_features(self) -> "Examples":
        """Return the same rows with nothing known of their users."""
        return replace(self, features=self.features[[]], event_features=self.event_features[[]])

    def take(self, chosen: np.ndarray) -> "Examples":
        """Return the chosen rows (a mask or positions), in their order."""
        positions = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return Examples(
            features=self.features.iloc[positions].reset_index(drop=True),
            event_features=self.event_features.iloc[positions].reset_index(drop=True),
            user_ids=self.user_ids[positions],
            event_types=self.event_types[positions],
            is_exposed=self.is_exposed[positions],
            assignment_probability=self.assignment_probability[positions],
            reference_days=self.reference_days[positions],
            outcome=self.outcome[positions],
            channels=self.channels[positions],
        )
