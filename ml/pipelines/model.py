"""The scoring model: everything that is learned about users, in one artefact with one version."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import pandas as pd

from ml.mlflow_mirror import MirrorError
from ml.registry import ModelRegistry, ModelVersion, RegistryError, pack
from ml.response import WORTH, ConversionModel, ReturnModel, RevenueModel
from ml.segmentation import UserSegmenter
from ml.value import ActivityModel, LifetimeValueModel, MoneyBySegment, SocialInfluence
from warehouse.door import Warehouse
from warehouse.settings import Settings

__all__ = [
    "MODEL_NAME",
    "ScoringModel",
    "add_worth",
    "foreign_states_refused",
    "load_champion",
    "mirror_models",
    "open_registry",
    "outcome_windows",
]

MODEL_NAME = "scoring"


@dataclass(frozen=True)
class ScoringModel:
    """Return, conversion, revenue and lifetime value, how users come and stop, what they bring friends, and segments.

    `segmenter` is None where nobody was inactive. `responses_as_of` is the date for which the first three were trained,
    where the others were refreshed later; None where all are of one date. `windows` are the days that a return, a
    conversion and its revenue were given, by the name of the setting; `built_with` is what the table of examples said
    of itself (`examples_built_with`). Both are empty in models from before they were kept.
    """

    returns: ReturnModel
    conversions: ConversionModel
    revenues: RevenueModel
    lifetime: LifetimeValueModel
    activity: ActivityModel
    influence: SocialInfluence
    segmenter: UserSegmenter | None
    money: MoneyBySegment = field(default_factory=MoneyBySegment)
    responses_as_of: date | None = None
    windows: Mapping[str, int] = field(default_factory=dict)
    built_with: str = ""

    def problem_with(self, settings: Settings) -> str:
        """Say why the model's figures are not what the settings ask for; nothing where they are."""
        asked = outcome_windows(settings)
        other = [
            f"{name} was {days} and is {asked[name]}"
            for name, days in sorted(self.windows.items())
            if asked.get(name, days) != days
        ]
        return f"It was trained for other windows ({', '.join(other)}): retrain the models." if other else ""

    @property
    def uses_event_features(self) -> bool:
        """Whether any part looks at the features of a user towards a type of event."""
        return any(part.uplift_.uses_features for part in (self.returns, self.conversions, self.revenues))

    @property
    def feature_names(self) -> frozenset[str]:
        """Names of the features that responses and segments look at; some are worked out, not found."""
        segments = frozenset() if self.segmenter is None else self.segmenter.feature_names
        return segments.union(*(part.feature_names for part in (self.returns, self.conversions, self.revenues)))

    def refreshed(self, newer: "ScoringModel", own_date: date, money: MoneyBySegment) -> "ScoringModel":
        """The same models of responses, beside the newer lifetime values, rhythms and segments.

        Args:
            newer: where these come from.
            own_date: the date this model was trained for.
            money: what this model's money is multiplied by in the newer segments.
        """
        return replace(
            self,
            lifetime=newer.lifetime,
            activity=newer.activity,
            influence=newer.influence,
            segmenter=newer.segmenter,
            money=money,
            responses_as_of=self.responses_as_of or own_date,
        )

    def with_worth(self, features: pd.DataFrame) -> pd.DataFrame:
        """Add the money a user is expected to bring once back to the user features, for the return model."""
        return add_worth(features, self.conversions, self.revenues)

    def to_state(self) -> dict[str, Any]:
        """Return everything learned as arrays, JSON values and model bytes."""
        return {
            "returns": self.returns.to_state(),
            "conversions": self.conversions.to_state(),
            "revenues": self.revenues.to_state(),
            "lifetime": self.lifetime.to_state(),
            "activity": self.activity.to_state(),
            "influence": self.influence.to_state(),
            "segmenter": None if self.segmenter is None else self.segmenter.to_state(),
            "money": self.money.to_state(),
            "responses_as_of": None if self.responses_as_of is None else self.responses_as_of.isoformat(),
            "windows": dict(self.windows),
            "built_with": self.built_with,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "ScoringModel":
        """Rebuild the model from `to_state`.

        Raises:
            RegistryError: the state is of a version of this program that knew other parts.
        """
        with foreign_states_refused():
            returns, conversions = (
                ReturnModel.from_state(state["returns"]),
                ConversionModel.from_state(state["conversions"]),
            )
            if state["returns"]["affinity"] is not None and pack(state["returns"]["affinity"]) == pack(
                state["conversions"]["affinity"]
            ):
                # Learned once and kept with both; one object is asked once.
                conversions.affinity = returns.affinity
            return cls(
                returns=returns,
                conversions=conversions,
                revenues=RevenueModel.from_state(state["revenues"]),
                lifetime=LifetimeValueModel.from_state(state["lifetime"]),
                activity=ActivityModel.from_state(state["activity"]),
                influence=SocialInfluence.from_state(state["influence"]),
                segmenter=None if state["segmenter"] is None else UserSegmenter.from_state(state["segmenter"]),
                money=MoneyBySegment.from_state(state["money"]),
                responses_as_of=date.fromisoformat(trained) if (trained := state["responses_as_of"]) else None,
                windows={name: int(days) for name, days in state.get("windows", {}).items()},
                built_with=str(state.get("built_with", "")),
            )


@contextmanager
def foreign_states_refused() -> Iterator[None]:
    """Turn whatever goes wrong while a state is read into one error: another version of this program wrote it.

    Raises:
        RegistryError: the block raised something.
    """
    try:
        yield
    except Exception as error:  # what is missing or of another shape may break any line that reads it
        raise RegistryError(
            "The model was trained by another version of this program and cannot be read "
            f"({type(error).__name__}: {error}): retrain the models."
        ) from error


def add_worth(features: pd.DataFrame, conversions: ConversionModel, revenues: RevenueModel) -> pd.DataFrame:
    """Return the features with the column that says what a return is worth within the value horizon."""
    return features.assign(**{WORTH: conversions.predict_baseline(features) * revenues.predict_baseline(features)})


def outcome_windows(settings: Settings) -> dict[str, int]:
    """Return the settings that say what a chance to return, a conversion and its revenue are."""
    return {
        "return_window_days": settings.return_window_days,
        "conversion_window_days": settings.conversion_window_days,
        "value_horizon_days": settings.value_horizon_days,
    }


def mirror_models(registry: ModelRegistry) -> tuple[str, ...]:
    """Let MLflow show the versions; where it cannot be written to, a sentence for the report: a copy may be late."""
    try:
        registry.mirror(MODEL_NAME)
    except MirrorError as error:
        logging.getLogger(__name__).warning("%s", error)
        return (str(error),)
    return ()


def open_registry(warehouse: Warehouse, settings: Settings) -> ModelRegistry:
    """Return the registry of this installation."""
    return ModelRegistry(warehouse, settings.state_folder / "models", settings.tracking_uri)


def load_champion(
    warehouse: Warehouse, as_of_date: date, settings: Settings
) -> tuple[ScoringModel, ModelVersion, tuple[str, ...]]:
    """Load the version in charge on a date, or the last one before it that can be loaded.

    Returns:
        the model, its version, and sentences on versions that were passed over.

    Raises:
        RegistryError: no version can be loaded.
    """
    registry = open_registry(warehouse, settings)
    messages: list[str] = []
    for version in registry.promoted(MODEL_NAME, as_of_date):
        try:
            return ScoringModel.from_state(registry.load(version)), version, tuple(messages)
        except RegistryError as error:
            messages.append(f"Fell back to an earlier model. {error}")
    if messages:
        raise RegistryError(" ".join(messages))
    raise RegistryError(f"No model was trained by {as_of_date}: run retrain_models for that date first.")
