"""Whether what a model says of some users is fit to be acted on.

It is not when the model needs features that are gone, or when what it says of a thousand users, with an event or
without one, is nonsense: not a number, outside its range, or the same for everybody although it was not taught to say
that.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from ml.pipelines.activity import ACTIVITY_SOURCE
from ml.pipelines.batches import read_users
from ml.pipelines.model import ScoringModel
from ml.pipelines.reading import FeatureCatalogue, user_ranges
from ml.response import OutcomeModel, ResponseError
from ml.segmentation import SegmentationError
from warehouse.door import Warehouse

__all__ = ["Probe"]

_PROBED_USERS = 1000
# They are spread over so many, the first there are: to draw from all would take longer than to score.
_USERS_TO_CHOOSE_FROM = 8_192
# Fewer users may well be alike.
_ENOUGH_TO_DIFFER = 100


@dataclass(frozen=True)
class Probe:
    """Inactive users of a date by whom models are tried.

    Attributes:
        users: their features, index user_id.
        towards: features of the same users towards any type of event: as of users who never met one, because whether a
            model speaks sense of what events change does not hang on it.
    """

    users: pd.DataFrame
    towards: pd.DataFrame

    @classmethod
    def read(cls, warehouse: Warehouse, as_of_date: date) -> "Probe":
        """Read some inactive users of a date; none where its features are not built."""
        with warehouse.transaction() as connection:
            # Users are asked for range by range, so that a million need not be sorted for it.
            for first, following in user_ranges(connection, _USERS_TO_CHOOSE_FROM):
                found = warehouse.read_frame(
                    f"select user_id from {ACTIVITY_SOURCE} where as_of_date = %(as_of_date)s and is_inactive"
                    " and user_id >= %(first)s and (%(next)s::text is null or user_id < %(next)s)"
                    " order by user_id limit %(most)s",
                    {"as_of_date": as_of_date, "first": first, "next": following, "most": _USERS_TO_CHOOSE_FROM},
                )
                if len(found):
                    break
        user_ids = found["user_id"].iloc[:: max(1, len(found) // _PROBED_USERS)]
        users = read_users(warehouse, as_of_date, [str(user) for user in user_ids[:_PROBED_USERS]])
        return cls(users, pd.DataFrame(np.nan, users.index, FeatureCatalogue.read(warehouse).event_names))

    def problem_of(self, model: ScoringModel) -> str:
        """Say what is wrong with a model; empty where nothing is."""
        if len(self.users) == 0:
            return ""
        try:
            if model.segmenter is not None:
                model.segmenter.predict(self.users)
            return self._nonsense_in(model)
        except (ResponseError, SegmentationError) as error:
            return str(error)

    def _nonsense_in(self, model: ScoringModel) -> str:
        """Say which figure is nonsense."""
        parts: tuple[tuple[OutcomeModel, pd.DataFrame], ...] = (
            (model.returns, model.with_worth(self.users)),
            (model.conversions, self.users),
            (model.revenues, self.users),
        )
        for part, features in parts:
            said = part.predict_baseline(features)
            if not np.isfinite(said).all():
                return f"It says that the {part.what} is not a number for {int((~np.isfinite(said)).sum())} users."
            if said.min() < 0 or (part.kind == "chance" and said.max() > 1):
                return f"It says that the {part.what} lies outside what is possible ({said.min():g} to {said.max():g})."
            was_taught_to_differ = part.baseline_.learner.complexity > 0
            if was_taught_to_differ and len(said) >= _ENOUGH_TO_DIFFER and np.ptp(said) == 0:
                return f"It says the same {part.what} ({said[0]:g}) of everybody, which it was not taught to say."
            for event_type in part.uplift_.types:
                told = part.predict(features, self.towards, event_type, said)
                # Only the interval of a return is shown to anybody.
                shown = (told.with_event, told.uplift_low, told.uplift_high)[: 3 if part is model.returns else 1]
                if not all(np.isfinite(figures).all() for figures in shown):
                    return f"What it says that events of type {event_type} change in the {part.what} is not a number."
        return ""
