"""Which model scores when the champion cannot be trusted: the last good version, then means of past campaigns.

    champion -> versions that were in charge before it -> mean rates and mean effects, learned anew without features

A model cannot be trusted when its file is missing or was changed, when it needs features that are gone, or when what it
says of a thousand users is nonsense: not a number, outside its range, or the same for everybody although it was not
taught to say that.
"""

from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pandas as pd

from ml.pipelines.batches import read_users
from ml.pipelines.model import MODEL_NAME, ScoringModel, open_registry
from ml.pipelines.reading import read_training_rows, require_features
from ml.pipelines.train import MOST_EXAMPLES, fit_scoring_model
from ml.registry import RegistryError
from ml.response import OutcomeModel, ResponseError
from warehouse.door import Warehouse
from warehouse.settings import Settings

__all__ = ["FALLBACK_VERSION", "TrustedModel", "nonsense_in", "trusted_model"]

#: What rows say in place of a version when no model could be used.
FALLBACK_VERSION = "fallback"

_PROBED_USERS = 1000
# They are spread over so many, the first in the order of the index: to draw from all would take longer than to score.
_USERS_TO_CHOOSE_FROM = 65_536
# Fewer users may well be alike.
_ENOUGH_TO_DIFFER = 100


@dataclass(frozen=True)
class TrustedModel:
    """A model that may score.

    Attributes:
        model: the model.
        version: its version, or FALLBACK_VERSION.
        note: what a row must say of it; empty where it is the champion.
        messages: sentences on what was passed over.
    """

    model: ScoringModel
    version: str
    note: str
    messages: tuple[str, ...]


def trusted_model(warehouse: Warehouse, as_of_date: date, settings: Settings) -> TrustedModel:
    """Return the model in charge on a date, or what stands in for it.

    Raises:
        RegistryError: no model was ever trained by that date.
    """
    registry = open_registry(warehouse, settings)
    promoted = registry.promoted(MODEL_NAME, as_of_date)
    if not promoted:
        raise RegistryError(f"No model was trained by {as_of_date}: run retrain_models for that date first.")
    users = _probed_users(warehouse, as_of_date)
    messages: list[str] = []
    for version in promoted:
        try:
            model = ScoringModel.from_state(registry.load(version))
            problem = nonsense_in(model, users)
        except (RegistryError, ResponseError) as error:
            problem = str(error)
        if not problem:
            note = f"Scored by the earlier model {version.version}: the one in charge cannot be used."
            return TrustedModel(model, version.version, note if messages else "", tuple(messages))
        messages.append(f"Fell back from model {version.version}. {problem}")
    rows = read_training_rows(warehouse, as_of_date, most=MOST_EXAMPLES, with_features=False)
    model, _, learned = fit_scoring_model(warehouse, as_of_date, rows, replace(settings, tuning_trials=0))
    note = "Mean rates of past campaigns: no model can be used."
    return TrustedModel(model, FALLBACK_VERSION, note, (*messages, f"{note} Retrain, or restore a file.", *learned))


def _probed_users(warehouse: Warehouse, as_of_date: date) -> pd.DataFrame:
    """Features of some inactive users of a date."""
    require_features(warehouse, as_of_date)
    found = warehouse.read_frame(
        "select user_id from features.feat_user_behaviour where as_of_date = %s and is_inactive order by user_id"
        " limit %s",
        (as_of_date, _USERS_TO_CHOOSE_FROM),
    )
    user_ids = found["user_id"].iloc[:: max(1, len(found) // _PROBED_USERS)]
    return read_users(warehouse, as_of_date, [str(user) for user in user_ids[:_PROBED_USERS]])


def nonsense_in(model: ScoringModel, users: pd.DataFrame) -> str:
    """Say what is wrong with what a model says of some users; empty where nothing is.

    Args:
        model: the model.
        users: their features, index user_id.

    Raises:
        ResponseError: features that the model was taught with are gone.
    """
    if len(users) == 0:
        return ""
    valued = model.with_worth(users)
    parts: tuple[tuple[OutcomeModel, pd.DataFrame], ...] = (
        (model.returns, valued),
        (model.conversions, users),
        (model.revenues, users),
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
    return ""
