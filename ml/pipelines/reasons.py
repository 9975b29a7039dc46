"""Tells why the chance of users to return is what it is: only of those for whom an event was chosen.

The parts of a prediction cost many times the prediction, and nobody looks at those of users who are left alone.
"""

from collections.abc import Sequence
from datetime import date

import numpy as np

from ml.pipelines.batches import read_users
from ml.pipelines.matrix import Prediction
from ml.pipelines.rules import DecisionError
from ml.response import reasons_in_words
from warehouse.door import Warehouse
from warehouse.settings import Settings

__all__ = ["explain_users"]

_USERS_AT_A_TIME = 8192


def explain_users(
    warehouse: Warehouse, as_of_date: date, settings: Settings, user_ids: Sequence[str], *, model_version: str
) -> np.ndarray:
    """Say what moves the chance of each user to return uninvited most, in words, object of shape (users,).

    What stands in for the model in charge is said before. None where there is nothing to say: one chance for everybody.

    Raises:
        DecisionError: another model than `model_version` is in charge by now.
    """
    explanations = np.full(len(user_ids), None, dtype=object)
    if not len(user_ids):
        return explanations
    prediction = Prediction.of(warehouse, as_of_date, settings)
    if prediction.model_version != model_version:
        raise DecisionError(
            f"The decisions rest on model {model_version}, but {prediction.model_version} is in charge by now: "
            "run score_users and decide_targets again."
        )
    model = prediction.model
    for start in range(0, len(user_ids), _USERS_AT_A_TIME):
        rows = slice(start, start + _USERS_AT_A_TIME)
        features = model.with_worth(read_users(warehouse, as_of_date, user_ids[rows]))
        reasons = reasons_in_words(model.returns.baseline_.learner, features)
        explanations[rows] = [
            " ".join(filter(None, (prediction.note, reason and f"Return if left alone: {reason}."))) or None
            for reason in reasons
        ]
    return explanations
