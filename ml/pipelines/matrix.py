"""Chances and money of every inactive user with every open event: what scoring writes and deciding optimises over."""

from dataclasses import asdict, dataclass
from datetime import date

import numpy as np
import pandas as pd

from ml.contracts import ResponseMatrix
from ml.pipelines.model import ScoringModel, load_champion
from ml.pipelines.reading import purchase_columns, read_event_features, read_inactive_users, read_open_events
from ml.value import ValueWeights, expected_incremental_value, value_of_a_return
from warehouse.door import Warehouse
from warehouse.settings import Settings

__all__ = ["UserPredictions", "matrix_values", "predict_users", "response_matrix"]


@dataclass(frozen=True)
class UserPredictions:
    """What the champion says about every inactive user of a date.

    Attributes:
        features: the users' features, index user_id, sorted.
        matrix: chances and money with every open event.
        segments: segment name per user, object of shape (users,).
        p_alive: chance that the user will ever buy again; NaN where nothing is known.
        lifetime_value: money expected of the user within a year, given that the user may never come back.
        lifetime_value_if_back: the same of a user who is back.
        messages: sentences for the report of the stage.
    """

    features: pd.DataFrame
    matrix: ResponseMatrix
    model: ScoringModel
    segments: np.ndarray
    p_alive: np.ndarray
    lifetime_value: np.ndarray
    lifetime_value_if_back: np.ndarray
    messages: tuple[str, ...]


def response_matrix(warehouse: Warehouse, as_of_date: date, settings: Settings) -> ResponseMatrix:
    """Return chances and money of every inactive user with every open event, by the champion of the date.

    Users are sorted by user_id, events by event_id; either may be none at all.

    Raises:
        PipelineError: there are no features for the date.
        RegistryError: there is no model for the date.
    """
    return predict_users(warehouse, as_of_date, settings).matrix


def matrix_values(matrix: ResponseMatrix, settings: Settings) -> np.ndarray:
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


def predict_users(warehouse: Warehouse, as_of_date: date, settings: Settings) -> UserPredictions:
    """Let the champion of the date predict every inactive user."""
    features = read_inactive_users(warehouse, as_of_date)
    model, version, messages = load_champion(warehouse, as_of_date, settings)
    events = read_open_events(warehouse, as_of_date)
    users, columns = len(features), len(events)
    valued = model.with_worth(features)
    alone = {
        "p_return": model.returns.predict_baseline(valued),
        "p_conversion": model.conversions.predict_baseline(features),
        "revenue": model.revenues.predict_baseline(features),
    }
    names = (*alone, "uplift_low", "uplift_high")
    cells = {name: np.zeros((users, columns)) for name in names}
    evidence = np.full(columns, "insufficient", dtype=object)
    for event_type, positions in events.groupby("event_type", sort=True).indices.items():
        towards = read_event_features(warehouse, as_of_date, str(event_type), features.index)
        returns = model.returns.predict(valued, towards, str(event_type), alone["p_return"])
        conversions = model.conversions.predict(features, towards, str(event_type), alone["p_conversion"])
        revenues = model.revenues.predict(features, towards, str(event_type), alone["revenue"])
        columns_of_type = {
            "p_return": returns.with_event,
            "p_conversion": conversions.with_event,
            "revenue": revenues.with_event,
            "uplift_low": returns.uplift_low,
            "uplift_high": returns.uplift_high,
        }
        for name, column in columns_of_type.items():
            cells[name][:, positions] = column[:, np.newaxis]
        evidence[positions] = returns.evidence
    purchases = purchase_columns(features)
    worth = model.lifetime.predict(purchases["x"], purchases["t_x"], purchases["T"], purchases["z"])
    if_back = worth["lifetime_value_if_alive"].to_numpy()
    weights = ValueWeights.from_mapping(asdict(settings.value_weights))
    matrix = ResponseMatrix(
        as_of_date=as_of_date,
        user_ids=features.index.to_numpy(dtype=object),
        events=events.assign(evidence=evidence),
        p_return=cells["p_return"],
        p_return_if_not_contacted=alone["p_return"],
        p_conversion=cells["p_conversion"],
        p_conversion_if_not_contacted=alone["p_conversion"],
        revenue=cells["revenue"],
        revenue_if_not_contacted=alone["revenue"],
        model_version=version.version,
        uplift_low=cells["uplift_low"],
        uplift_high=cells["uplift_high"],
        value_of_a_return=value_of_a_return(if_back, np.zeros(users), weights),
    )
    segments = np.full(users, "everybody", dtype=object)
    if model.segmenter is not None and users:
        segments = model.segmenter.predict(features)
    return UserPredictions(
        features=features,
        matrix=matrix,
        model=model,
        segments=segments,
        p_alive=worth["p_alive"].to_numpy(),
        lifetime_value=worth["lifetime_value"].to_numpy(),
        lifetime_value_if_back=if_back,
        messages=messages,
    )
