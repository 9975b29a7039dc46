"""How sure it is that a plan gains: the standard error of what its invitations are expected to add.

An effect is off by little in each user, and in the same direction in all who are alike. Where a plan rests on a few who
are alike - those who pay most, of whom tests hold few - its sum is as unsure as what is known of them.
"""

import numpy as np

from ml.contracts import ResponseMatrix
from ml.pipelines.batches import read_users
from ml.pipelines.matrix import Prediction
from ml.pipelines.reading import read_event_features
from ml.pipelines.rules import DecisionError, PlanError
from warehouse.door import Warehouse
from warehouse.settings import Settings

__all__ = ["error_of_plans"]

# Of a larger plan every second, third, ... invitation stands for those between: users are in no order that matters.
_MOST_PAIRS = 8192


def error_of_plans(warehouse: Warehouse, matrix: ResponseMatrix, settings: Settings) -> PlanError:
    """Return what tells the standard error of a plan of this matrix, in money.

    It is that of the effects: posterior covariances of their slopes, carried over to money by the derivative of the
    value (delta method). Errors of chances without an event hit both sides of the difference and are left out.
    """

    def error(users: np.ndarray, events: np.ndarray, channels: np.ndarray) -> float:
        step = -(-len(users) // _MOST_PAIRS)
        users, events, channels = users[::step], events[::step], channels[::step]
        prediction = Prediction.of(warehouse, matrix.as_of_date, settings)
        if prediction.model_version != matrix.model_version:
            raise DecisionError(
                f"The chances rest on model {matrix.model_version}, but {prediction.model_version} is in charge by "
                "now: run score_users and decide_targets again."
            )
        model = prediction.model
        features = model.with_worth(read_users(warehouse, matrix.as_of_date, matrix.user_ids[users].tolist()))
        returned, converted, revenue = (
            part[users, events].astype(np.float64) for part in (matrix.p_return, matrix.p_conversion, matrix.revenue)
        )
        of_a_return = converted * revenue - matrix.events["reward_cost"].to_numpy(dtype=np.float64)[events]
        if matrix.value_of_a_return is not None:
            of_a_return += matrix.value_of_a_return[users]
        # What a step on its own scale changes in the value of the pair: log odds of both chances, money of revenue.
        parts = (
            (model.returns, returned * (1 - returned) * of_a_return),
            (model.conversions, converted * (1 - converted) * returned * revenue),
            (model.revenues, returned * converted),
        )
        types = matrix.events["event_type"].astype(str).to_numpy(dtype=object)[events]
        sums: list[dict[str, np.ndarray]] = [{} for _ in parts]
        for event_type in np.unique(types.astype(str)):
            rows = np.flatnonzero(types == event_type)
            of_type = features.iloc[rows]
            towards = read_event_features(warehouse, matrix.as_of_date, event_type, of_type.index)
            for known, (outcome, weights) in zip(sums, parts, strict=True):
                known[event_type] = outcome.weighed(of_type, towards, event_type, step * weights[rows], channels[rows])
        errors = [outcome.uplift_.error_of_sums(known) for known, (outcome, _) in zip(sums, parts, strict=True)]
        return float(np.linalg.norm(errors))

    return error
