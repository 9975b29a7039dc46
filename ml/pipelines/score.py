"""Stage: write what the champion says about every inactive user - scores, the best three events, segments."""

from datetime import date

import numpy as np
import pandas as pd

from ml.contracts import ResponseMatrix, StageReport
from ml.pipelines.matrix import UserPredictions, matrix_values, predict_users
from ml.pipelines.reading import read_reachable_users
from ml.value import value_score
from warehouse.door import Warehouse
from warehouse.settings import Settings

__all__ = ["score_users"]

_BEST = 3
_MONEY_DIGITS = 6


def score_users(as_of_date: date, settings: Settings) -> StageReport:
    """Score every inactive user of a date and replace the rows of that date in one transaction.

    Writes predictions.user_scores (a row per inactive user), predictions.response_scores (a user's best three open
    events by expected incremental value) and predictions.segments.
    """
    warehouse = Warehouse(settings.warehouse_url)
    predicted = predict_users(warehouse, as_of_date, settings)
    values = matrix_values(predicted.matrix, settings)
    reachable = read_reachable_users(warehouse, as_of_date)
    users = user_scores(predicted, values, reachable)
    responses = response_scores(predicted.matrix, values)
    segments = segment_rows(predicted, values, users)
    with warehouse.transaction() as connection:
        for table, frame in (
            ("predictions.user_scores", users),
            ("predictions.response_scores", responses),
            ("predictions.segments", segments),
        ):
            dated = frame.assign(as_of_date=pd.Series([as_of_date] * len(frame), dtype=object))
            warehouse.replace_rows(connection, table, dated, key={"as_of_date": as_of_date})
    messages = list(predicted.messages)
    events = predicted.matrix.events
    if len(users) == 0:
        messages.append("Nobody is inactive on this date, so there is nobody to score.")
    if len(events) == 0:
        messages.append("No event is open on this date: users are ranked by what they are worth, none is invited.")
    unproven = sorted(set(events.loc[events["evidence"] == "insufficient", "event_type"]))
    if unproven:
        messages.append(
            f"Past campaigns do not show what these event types do: {', '.join(unproven)}. "
            "Invite a random part of the users first, so that the next run knows."
        )
    details: dict[str, float | int | str] = {
        "users": len(users),
        "events": len(events),
        "segments": len(segments),
        "version": predicted.matrix.model_version,
    }
    return StageReport("score_users", as_of_date, len(users) + len(responses), tuple(messages), details)


def user_scores(predicted: UserPredictions, values: np.ndarray, reachable: set[str]) -> pd.DataFrame:
    """Return the rows of predictions.user_scores, one per inactive user."""
    matrix = predicted.matrix
    users = len(matrix.user_ids)
    has_events = values.shape[1] > 0
    rows = np.arange(users)
    # argmax takes the first of equals, and events are sorted by event_id: ties are decided the same way every time.
    best = values.argmax(axis=1) if has_events else np.zeros(users, dtype=np.int64)
    event_ids = matrix.events["event_id"].to_numpy(dtype=object)
    score = value_score(
        expected_incremental_value=values[rows, best] if has_events else None,
        p_return_if_not_contacted=matrix.p_return_if_not_contacted,
        lifetime_value=predicted.lifetime_value_if_back,
    )
    return pd.DataFrame(
        {
            "user_id": matrix.user_ids,
            "segment": predicted.segments,
            "p_alive": predicted.p_alive,
            "p_return_if_not_contacted": matrix.p_return_if_not_contacted,
            "p_return_best": matrix.p_return[rows, best] if has_events else matrix.p_return_if_not_contacted,
            "best_event_id": event_ids[best] if has_events else np.full(users, None, dtype=object),
            "p_conversion": matrix.p_conversion[rows, best] if has_events else matrix.p_conversion_if_not_contacted,
            "lifetime_value": _money(predicted.lifetime_value),
            "value_score": _money(score),
            "social_influence": _money(np.zeros(users)),
            "is_reachable": np.isin(matrix.user_ids, sorted(reachable)) if users else np.zeros(0, dtype=bool),
            "model_version": matrix.model_version,
        }
    )


def response_scores(matrix: ResponseMatrix, values: np.ndarray) -> pd.DataFrame:
    """Return the rows of predictions.response_scores: the best three events of each user, ties by event_id."""
    kept = min(_BEST, values.shape[1])
    order = np.argsort(-values, axis=1, kind="stable")[:, :kept]
    rows = np.repeat(np.arange(values.shape[0]), kept)
    columns = order.ravel()

    def cells(array: np.ndarray) -> np.ndarray:
        return array[rows, columns]

    def by_event(name: str) -> np.ndarray:
        return matrix.events[name].to_numpy(dtype=object)[columns]

    p_return, alone = cells(matrix.p_return), matrix.p_return_if_not_contacted[rows]
    assert matrix.uplift_low is not None
    assert matrix.uplift_high is not None
    return pd.DataFrame(
        {
            "user_id": matrix.user_ids[rows],
            "event_id": by_event("event_id"),
            "event_type": by_event("event_type"),
            "p_return": p_return,
            "p_return_if_not_contacted": alone,
            "uplift": p_return - alone,
            "uplift_low": cells(matrix.uplift_low),
            "uplift_high": cells(matrix.uplift_high),
            "p_conversion": cells(matrix.p_conversion),
            "p_conversion_if_not_contacted": matrix.p_conversion_if_not_contacted[rows],
            "expected_revenue": _money(cells(matrix.revenue)),
            "expected_value": _money(cells(values)),
            "evidence": by_event("evidence"),
            "model_version": matrix.model_version,
        }
    )


def segment_rows(predicted: UserPredictions, values: np.ndarray, users: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of predictions.segments, one per segment that has users."""
    segmenter = predicted.model.segmenter
    described = {}
    if segmenter is not None and len(users):
        described = {profile.segment: profile for profile in segmenter.describe(predicted.features, predicted.segments)}
    event_types = predicted.matrix.events["event_type"].to_numpy(dtype=object)
    rows = []
    for segment, positions in users.groupby("segment", sort=True).indices.items():
        profile = described.get(str(segment))
        means = values[positions].mean(axis=0) if values.shape[1] else np.zeros(0)
        rows.append(
            {
                "segment": segment,
                "size": len(positions),
                "share": len(positions) / len(users),
                "definition": profile.definition if profile else "all inactive users",
                "medians": {} if profile is None else dict(profile.medians),
                "best_event_type": event_types[int(means.argmax())] if len(means) else None,
                "expected_value": round(float(means.max()), _MONEY_DIGITS) if len(means) else None,
            }
        )
    names = ["segment", "size", "share", "definition", "medians", "best_event_type", "expected_value"]
    return pd.DataFrame(rows, columns=names)


def _money(amounts: np.ndarray) -> np.ndarray:
    """Round to the digits that are written (half to even), so that equal runs write equal numbers."""
    return np.round(np.asarray(amounts, dtype=np.float64), _MONEY_DIGITS) + 0.0
