"""Chances and money of inactive users with every open event: what scoring writes and deciding optimises over."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from ml.contracts import ResponseMatrix
from ml.pipelines.activity import ACTIVITY, chances_of_being_alive
from ml.pipelines.batches import ROWS_PER_BATCH, UserBatch, read_user_batches
from ml.pipelines.channels import rank_channels
from ml.pipelines.fallback import trusted_model
from ml.pipelines.friends import FRIENDS, influence_of_users
from ml.pipelines.model import ScoringModel
from ml.pipelines.reading import PURCHASES, purchase_columns, read_open_events
from ml.response import WORTH, OutcomePrediction
from ml.value import ValueWeights, expected_incremental_value, value_of_a_return
from warehouse.door import Warehouse
from warehouse.settings import Settings

__all__ = [
    "Prediction",
    "UserPredictions",
    "best_events",
    "matrix_values",
    "predict_batch",
    "predict_users",
    "response_matrix",
]

_CELLS = ("p_return", "p_conversion", "revenue")
_INTERVAL = ("uplift_low", "uplift_high")
_BY_USER = (
    "p_return_if_not_contacted",
    "p_conversion_if_not_contacted",
    "revenue_if_not_contacted",
    "value_of_a_return",
)


@dataclass(frozen=True)
class UserPredictions:
    """What the champion says about inactive users of a date, all or a batch of them.

    Attributes:
        features: the users' features that were read, index user_id.
        matrix: chances and money with every open event, float32.
        segments: segment name per user, object of shape (users,).
        p_alive: chance that the user has not left for good; NaN where the user was never active.
        lifetime_value: money expected of the user within a year, given that the user may never come back.
        lifetime_value_if_back: the same of a user who is back.
        social_influence: money that a return of the user brings through friends.
        is_reachable: bool, may be contacted over at least one channel.
    """

    features: pd.DataFrame
    matrix: ResponseMatrix
    segments: np.ndarray
    p_alive: np.ndarray
    lifetime_value: np.ndarray
    lifetime_value_if_back: np.ndarray
    social_influence: np.ndarray
    is_reachable: np.ndarray


@dataclass(frozen=True)
class Prediction:
    """A champion and the open events of a date, ready to predict users batch by batch.

    Attributes:
        model: the champion, or what stands in for it.
        note: what every row must say of the model; empty where it is the champion.
        events: the open events, sorted by event_id.
        weights: what counts beyond the horizon.
        activity_relation: whose column is_inactive says who is predicted.
        messages: sentences for the report of the stage.
        channels: those over which users would be invited, best first; none where channels are not told apart.
    """

    warehouse: Warehouse
    as_of_date: date
    model: ScoringModel
    model_version: str
    note: str
    events: pd.DataFrame
    weights: ValueWeights
    activity_relation: str
    messages: tuple[str, ...]
    channels: tuple[str, ...] = ()

    @classmethod
    def of(cls, warehouse: Warehouse, as_of_date: date, settings: Settings) -> "Prediction":
        """Load the champion of a date, or what stands in for it, and read what is open.

        Raises:
            RegistryError: no model was trained by the date.
        """
        trusted = trusted_model(warehouse, as_of_date, settings)
        factors = trusted.model.returns.uplift_.channels.factors
        return cls(
            warehouse,
            as_of_date,
            trusted.model,
            trusted.version,
            trusted.note,
            read_open_events(warehouse, as_of_date),
            ValueWeights.from_mapping(asdict(settings.value_weights)),
            settings.activity_relation,
            trusted.messages,
            rank_channels(warehouse, as_of_date, factors) if factors else (),
        )

    @property
    def feature_names(self) -> frozenset[str]:
        """Names of the features that `predict_batch` looks at; some are worked out and not found in the warehouse."""
        return self.model.feature_names.union(PURCHASES.values(), FRIENDS, ACTIVITY)

    def batches(
        self, rows: int = ROWS_PER_BATCH, *, intervals: int = 0, with_every_feature: bool = False
    ) -> Iterator[UserPredictions]:
        """Predict every inactive user, at most `rows` in memory at a time; at least one batch, which may be empty.

        Of so many of a user's best events as `intervals` says the uplift has its interval, of the others NaN. Features
        that nothing here looks at are not read, unless `with_every_feature`.

        Raises:
            PipelineError: there are no features for the date.
        """
        event_types = sorted(set(self.events["event_type"]))
        for batch in read_user_batches(
            self.warehouse,
            self.as_of_date,
            event_types,
            with_event_features=self.model.uses_event_features,
            rows=rows,
            relation=self.activity_relation,
            channels=self.channels,
            names=None if with_every_feature else self.feature_names,
        ):
            yield predict_batch(self, batch, intervals=intervals)


def predict_batch(prediction: Prediction, batch: UserBatch, *, intervals: int = 0) -> UserPredictions:
    """Predict some users. A user's figures do not depend on who else is in the batch.

    Figures are rounded to float32, here and nowhere else: what scoring writes is what deciding sees. `intervals` is as
    in `Prediction.batches`.
    """
    model, events, features = prediction.model, prediction.events, batch.features
    users, columns = len(features), len(events)
    conversion, revenue = model.conversions.predict_baseline(features), model.revenues.predict_baseline(features)
    valued = features.assign(**{WORTH: conversion * revenue})
    alone = model.returns.predict_baseline(valued)
    segments = np.full(users, "everybody", dtype=object)
    if model.segmenter is not None and users:
        segments = model.segmenter.predict(features)
    factor = model.money.factor(segments)
    channels = batch.channels if prediction.channels else None
    cells = {name: np.zeros((users, columns), dtype=np.float32) for name in _CELLS}
    evidence = np.full(columns, "insufficient", dtype=object)
    changed: list[tuple[np.ndarray, OutcomePrediction]] = []
    for event_type, positions in events.groupby("event_type", sort=True).indices.items():
        name, towards = str(event_type), batch.event_features[str(event_type)]
        # All three are given the same frames, so that they share what follows from them alone.
        returns = model.returns.predict(valued, towards, name, alone, channels)
        columns_of_type = {
            "p_return": returns.with_event,
            "p_conversion": model.conversions.predict(valued, towards, name, conversion, channels).with_event,
            "revenue": model.revenues.predict(valued, towards, name, revenue).with_event * factor,
        }
        for cell, column in columns_of_type.items():
            cells[cell][:, positions] = column[:, np.newaxis]
        evidence[positions] = returns.evidence
        changed.append((np.asarray(positions), returns))
    purchases = purchase_columns(features)
    worth = model.lifetime.predict(purchases["x"], purchases["t_x"], purchases["T"], purchases["z"])
    if_back = worth["lifetime_value_if_alive"].to_numpy()
    influence = influence_of_users(model.influence, features, batch.friend_sums)
    matrix = ResponseMatrix(
        as_of_date=prediction.as_of_date,
        user_ids=features.index.to_numpy(dtype=object),
        events=events.assign(evidence=evidence),
        p_return_if_not_contacted=alone.astype(np.float32),
        p_conversion_if_not_contacted=conversion.astype(np.float32),
        revenue_if_not_contacted=(revenue * factor).astype(np.float32),
        model_version=prediction.model_version,
        value_of_a_return=value_of_a_return(if_back, influence, prediction.weights).astype(np.float32),
        channel_factors=model.returns.uplift_.channels.factors,
        **cells,
    )
    if intervals:
        matrix = _with_intervals(matrix, changed, intervals)
    return UserPredictions(
        features=features,
        matrix=matrix,
        segments=segments,
        p_alive=chances_of_being_alive(features, model.activity),
        lifetime_value=worth["lifetime_value"].to_numpy(),
        lifetime_value_if_back=if_back,
        social_influence=influence,
        is_reachable=batch.is_reachable,
    )


def best_events(values: np.ndarray, count: int) -> np.ndarray:
    """Return the columns of each user's best events by value, best first, (users, at most `count`).

    Of equals the first comes first, and events are sorted by event_id: ties are decided the same way every time.
    """
    return np.argsort(-values, axis=1, kind="stable")[:, :count]


def _with_intervals(
    matrix: ResponseMatrix, changed: Sequence[tuple[np.ndarray, OutcomePrediction]], count: int
) -> ResponseMatrix:
    """Add the intervals of each user's best events: of the others nobody sees them, and they cost more than the rest.

    `changed` says for each type of event which columns are of it, and what it changes in returns.
    """
    shown = np.zeros(matrix.p_return.shape, dtype=bool)
    np.put_along_axis(shown, best_events(matrix_values(matrix), count), values=True, axis=1)
    low, high = (np.full(shown.shape, np.nan, dtype=np.float32) for _ in _INTERVAL)
    for positions, returns in changed:
        is_shown = shown[:, positions]
        rows = np.flatnonzero(is_shown.any(axis=1))
        for end, figures in zip((low, high), returns.interval_of(rows), strict=True):
            end[np.ix_(rows, positions)] = np.where(is_shown[rows], figures[:, np.newaxis], np.nan)
    return replace(matrix, uplift_low=low, uplift_high=high)


def response_matrix(
    warehouse: Warehouse, as_of_date: date, settings: Settings, *, rows: int = ROWS_PER_BATCH
) -> ResponseMatrix:
    """Return chances and money of every inactive user with every open event, by the champion of the date.

    Users are sorted by user_id, events by event_id; either may be none at all. Features are read and forgotten
    `rows` users at a time.

    Raises:
        PipelineError: there are no features for the date.
        RegistryError: there is no model for the date.
    """
    return _joined([part.matrix for part in Prediction.of(warehouse, as_of_date, settings).batches(rows)])


def predict_users(warehouse: Warehouse, as_of_date: date, settings: Settings) -> UserPredictions:
    """Return everything that is said of all inactive users, with their features: for worlds that fit into memory."""
    prediction = Prediction.of(warehouse, as_of_date, settings)
    parts = list(prediction.batches(intervals=len(prediction.events), with_every_feature=True))
    matrix = _joined([part.matrix for part in parts])
    together = pd.concat([part.features for part in parts])
    order = together.index.get_indexer(pd.Index(matrix.user_ids))
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])[order]
        for name in (
            "segments",
            "p_alive",
            "lifetime_value",
            "lifetime_value_if_back",
            "social_influence",
            "is_reachable",
        )
    }
    return UserPredictions(features=together.iloc[order], matrix=matrix, **arrays)


def matrix_values(matrix: ResponseMatrix) -> np.ndarray:
    """Return the expected incremental value in money of each invitation, float64 of shape (users, events)."""
    if matrix.p_return.size == 0:
        return np.zeros(matrix.p_return.shape)
    return expected_incremental_value(
        p_return=matrix.p_return,
        p_return_if_not_contacted=matrix.p_return_if_not_contacted[:, np.newaxis].repeat(len(matrix.events), axis=1),
        p_conversion=matrix.p_conversion,
        p_conversion_if_not_contacted=matrix.p_conversion_if_not_contacted,
        revenue=matrix.revenue,
        revenue_if_not_contacted=matrix.revenue_if_not_contacted,
        reward_cost=matrix.events["reward_cost"].to_numpy(dtype=np.float64),
        contact_cost=matrix.events["contact_cost"].to_numpy(dtype=np.float64),
        value_of_a_return=0.0 if matrix.value_of_a_return is None else matrix.value_of_a_return,
    )


def _joined(parts: Sequence[ResponseMatrix]) -> ResponseMatrix:
    """Put batches together, sorted by user_id (by code point, whatever the warehouse's collation)."""
    user_ids = np.concatenate([part.user_ids for part in parts])
    names = (*_CELLS, *_BY_USER, *(name for name in _INTERVAL if getattr(parts[0], name) is not None))
    arrays: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    order = np.argsort(user_ids, kind="stable")
    if not (order[:-1] < order[1:]).all():
        user_ids, arrays = user_ids[order], {name: array[order] for name, array in arrays.items()}
    return replace(parts[0], user_ids=user_ids, **arrays)
