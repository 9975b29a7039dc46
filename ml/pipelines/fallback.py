"""Which model scores when the champion cannot be trusted: the last good version, then means of past campaigns.

    champion -> versions that were in charge before it -> mean rates by segment and mean effects by type, learned anew

Segments are those of the newest version whose segments can still be told, else they are found anew.

A model cannot be trusted when its file is missing or was changed, when it needs features that are gone, or when what it
says of a thousand users, with an event or without one, is nonsense: not a number, outside its range, or the same for
everybody although it was not taught to say that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pandas as pd

from ml.pipelines.batches import read_users
from ml.pipelines.model import MODEL_NAME, ScoringModel, open_registry
from ml.pipelines.reading import FeatureCatalogue, read_training_rows, require_features
from ml.pipelines.segment_means import with_segment_means
from ml.pipelines.train import THREADS, fit_scoring_model
from ml.registry import ModelRegistry, ModelVersion, RegistryError
from ml.response import OutcomeModel, ResponseError
from ml.segmentation import SegmentationError, UserSegmenter
from warehouse.door import Warehouse
from warehouse.settings import Settings

__all__ = ["FALLBACK_VERSION", "TrustedModel", "nonsense_in", "trusted_model"]

#: What rows say in place of a version when no model could be used.
FALLBACK_VERSION = "fallback"

_PROBED_USERS = 1000
# They are spread over so many, the first in the order of the index: to draw from all would take longer than to score.
_USERS_TO_CHOOSE_FROM = 65_536
# Means need no more past moments than these.
_MOST_FOR_MEANS = 100_000
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
    # As of users who never met an event: whether a model speaks sense of what events change does not hang on it.
    towards = pd.DataFrame(np.nan, users.index, FeatureCatalogue.read(warehouse).event_names)
    messages: list[str] = []
    for version in promoted:
        try:
            model = ScoringModel.from_state(registry.load(version))
            problem = nonsense_in(model, users, towards)
        except (RegistryError, ResponseError, SegmentationError) as error:
            problem = str(error)
        if not problem:
            note = f"Scored by the earlier model {version.version}: the one in charge cannot be used."
            return TrustedModel(model, version.version, note if messages else "", tuple(messages))
        messages.append(f"Fell back from model {version.version}. {problem}")
    return _means(warehouse, as_of_date, settings, _last_segmenter(registry, promoted, users), messages)


def _last_segmenter(
    registry: ModelRegistry, versions: Sequence[ModelVersion], users: pd.DataFrame
) -> UserSegmenter | None:
    """Segments of the first version whose segments can be loaded and told of these users; None where there is none."""
    for version in versions:
        try:
            state = registry.load(version).get("segmenter")
            if state is not None:
                segmenter = UserSegmenter.from_state(state)
                segmenter.predict(users)
                return segmenter
        except (RegistryError, SegmentationError):
            # What is wrong with the version has been said; an older one may still know its segments.
            continue
    return None


def _means(
    warehouse: Warehouse,
    as_of_date: date,
    settings: Settings,
    last: UserSegmenter | None,
    messages: Sequence[str],
) -> TrustedModel:
    """Means of past campaigns, by segment wherever anybody is inactive."""
    rows = read_training_rows(warehouse, as_of_date, most=_MOST_FOR_MEANS)
    bare = replace(rows, features=rows.features[[]], event_features=rows.event_features[[]])
    model, _, learned = fit_scoring_model(warehouse, as_of_date, bare, replace(settings, tuning_trials=0))
    segmenter = last or model.segmenter
    note = "Mean rates of past campaigns: no model can be used."
    if segmenter is not None:
        note = "Mean rates of past campaigns in the user's segment: no model can be used."
        model = with_segment_means(model, segmenter, rows, thread_count=THREADS, random_state=settings.seed)
        responses: tuple[OutcomeModel, ...] = (model.returns, model.conversions, model.revenues)
        learned = tuple(message for part in responses for message in part.messages_)
        if last is None:
            learned = ("The segments were found anew: none of a model can be told any more.", *learned)
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


def nonsense_in(model: ScoringModel, users: pd.DataFrame, towards: pd.DataFrame) -> str:
    """Say what is wrong with what a model says of some users; empty where nothing is.

    Args:
        model: the model.
        users: their features, index user_id.
        towards: features of the same users towards any type of event.

    Raises:
        ResponseError: features that the model was taught with are gone.
        SegmentationError: features that its segments were learned with are gone.
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
        for event_type in part.uplift_.types:
            told = part.predict(features, towards, event_type, said)
            # Only the interval of a return is shown to anybody.
            shown = (told.with_event, told.uplift_low, told.uplift_high)[: 3 if part is model.returns else 1]
            if not all(np.isfinite(figures).all() for figures in shown):
                return f"What it says that events of type {event_type} change in the {part.what} is not a number."
    if model.segmenter is not None:
        model.segmenter.predict(users)
    return ""
