"""Which model scores when the champion cannot be trusted: the last good version, then means of past campaigns.

    champion -> versions that were in charge before it -> mean rates by segment and mean effects by type, learned anew

Segments are those of the newest version whose segments can still be told, else they are found anew.

A model cannot be trusted when its file is missing, was changed or is of another version of this program, when it was
trained for other windows than the settings say, or when it fails the probe of `sanity.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import pandas as pd

from ml.pipelines.model import MODEL_NAME, ScoringModel, foreign_states_refused, open_registry
from ml.pipelines.reading import read_training_rows, require_features
from ml.pipelines.sanity import Probe
from ml.pipelines.segment_means import with_segment_means
from ml.pipelines.train import THREADS, fit_scoring_model
from ml.registry import ModelRegistry, ModelVersion, RegistryError
from ml.response import OutcomeModel
from ml.segmentation import SegmentationError, UserSegmenter
from warehouse.door import Warehouse
from warehouse.settings import Settings

__all__ = ["FALLBACK_VERSION", "TrustedModel", "trusted_model"]

#: What rows say in place of a version when no model could be used.
FALLBACK_VERSION = "fallback"

# Means need no more past moments than these.
_MOST_FOR_MEANS = 100_000


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
        PipelineError: there are no features for the date.
    """
    registry = open_registry(warehouse, settings)
    promoted = registry.promoted(MODEL_NAME, as_of_date)
    if not promoted:
        raise RegistryError(f"No model was trained by {as_of_date}: run retrain_models for that date first.")
    require_features(warehouse, as_of_date)
    probe = Probe.read(warehouse, as_of_date)
    messages: list[str] = []
    for version in promoted:
        try:
            model = ScoringModel.from_state(registry.load(version))
            problem = model.problem_with(settings) or probe.problem_of(model)
        except RegistryError as error:
            problem = str(error)
        if not problem:
            note = f"Scored by the earlier model {version.version}: the one in charge cannot be used."
            return TrustedModel(model, version.version, note if messages else "", tuple(messages))
        messages.append(f"Fell back from model {version.version}. {problem}")
    return _means(warehouse, as_of_date, settings, _last_segmenter(registry, promoted, probe.users), messages)


def _last_segmenter(
    registry: ModelRegistry, versions: Sequence[ModelVersion], users: pd.DataFrame
) -> UserSegmenter | None:
    """Segments of the first version whose segments can be loaded and told of these users; None where there is none."""
    for version in versions:
        try:
            state = registry.load(version).get("segmenter")
            if state is not None:
                with foreign_states_refused():
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
