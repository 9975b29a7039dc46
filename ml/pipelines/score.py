"""Stage: write what the champion says about every inactive user - scores, the best three events, segments."""

from collections import Counter
from datetime import date

import numpy as np
import pandas as pd

from ml.contracts import StageReport
from ml.pipelines.activity import comparison_sentence, write_user_activity
from ml.pipelines.batches import ROWS_PER_BATCH
from ml.pipelines.matrix import Prediction, UserPredictions, matrix_values
from ml.pipelines.model import ScoringModel
from ml.pipelines.portrait import Portrait
from ml.segmentation import SegmentProfile
from ml.value import value_score
from warehouse.door import Warehouse
from warehouse.settings import Settings

__all__ = ["score_users"]

_BEST = 3
_MONEY_DIGITS = 6
_FORGET = (
    "delete from predictions.user_scores where as_of_date = %(as_of_date)s",
    "delete from predictions.response_scores where as_of_date = %(as_of_date)s",
    "delete from predictions.segments where as_of_date = %(as_of_date)s",
)


def score_users(as_of_date: date, settings: Settings, *, rows_per_batch: int = ROWS_PER_BATCH) -> StageReport:
    """Score every inactive user of a date and replace the rows of that date in one transaction.

    Writes predictions.user_activity (who is inactive by which definition; a row per user, in a transaction of its own
    because the others rest on it), predictions.user_scores (a row per inactive user), predictions.response_scores (a
    user's best three open events by expected incremental value) and predictions.segments. Users pass through memory
    `rows_per_batch` at a time; what is written does not depend on that number.
    """
    warehouse = Warehouse(settings.warehouse_url)
    prediction = Prediction.of(warehouse, as_of_date, settings)
    comparison = write_user_activity(warehouse, as_of_date, prediction.model.activity, settings)
    segments, portrait = Segments(prediction.model, len(prediction.events)), Portrait(prediction.model.segmenter)
    users, responses = 0, 0
    evidence: dict[str, str] = {}
    key = {"as_of_date": as_of_date}
    with warehouse.transaction() as connection:
        for statement in _FORGET:
            connection.execute(statement, key)
        for predicted in prediction.batches(rows_per_batch):
            values = matrix_values(predicted.matrix, settings)
            segments.add(predicted, values)
            evidence.update(
                zip(predicted.matrix.events["event_type"], predicted.matrix.events["evidence"], strict=True)
            )
            scores, best = user_scores(predicted, values), response_scores(predicted, values, prediction.note)
            portrait.add(predicted.features, predicted.segments, scores["value_score"].to_numpy())
            users += warehouse.copy_frame(connection, "predictions.user_scores", scores.assign(**key))
            responses += warehouse.copy_frame(connection, "predictions.response_scores", best.assign(**key))
        profiles = segments.rows(prediction.events["event_type"].to_numpy(dtype=object))
        warehouse.copy_frame(connection, "predictions.segments", profiles.assign(**key))
    folder = portrait.save(warehouse, as_of_date, segments.profiles, settings)
    messages = [*prediction.messages, comparison_sentence(comparison, settings)]
    if users == 0:
        messages.append("Nobody is inactive on this date, so there is nobody to score.")
    if len(prediction.events) == 0:
        messages.append("No event is open on this date: users are ranked by what they are worth, none is invited.")
    unproven = sorted(event_type for event_type, kind in evidence.items() if kind == "insufficient")
    if unproven:
        messages.append(
            f"Past campaigns do not show what these event types do: {', '.join(unproven)}. "
            "Invite a random part of the users first, so that the next run knows."
        )
    details: dict[str, float | int | str] = {
        "users": users,
        "events": len(prediction.events),
        "segments": len(profiles),
        "version": prediction.model_version,
    }
    if folder is not None:
        details["pictures"] = str(folder)
    return StageReport("score_users", as_of_date, users + responses, tuple(messages), details)


def user_scores(predicted: UserPredictions, values: np.ndarray) -> pd.DataFrame:
    """Return rows of predictions.user_scores, one per inactive user."""
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
            "social_influence": _money(predicted.social_influence),
            "is_reachable": predicted.is_reachable,
            "model_version": matrix.model_version,
        }
    )


def response_scores(predicted: UserPredictions, values: np.ndarray, note: str = "") -> pd.DataFrame:
    """Return rows of predictions.response_scores: the best three events of each user, ties by event_id.

    `note` says of every row what stands in for the model in charge.
    """
    matrix = predicted.matrix
    kept = min(_BEST, values.shape[1])
    order = np.argsort(-values, axis=1, kind="stable")[:, :kept]
    rows = np.repeat(np.arange(values.shape[0]), kept)
    columns = order.ravel()

    def cells(array: np.ndarray | None) -> np.ndarray:
        return np.full(len(rows), np.nan) if array is None else array[rows, columns]

    def by_event(name: str) -> np.ndarray:
        return matrix.events[name].to_numpy(dtype=object)[columns]

    # As they are, and not rounded: what is written adds up for whoever reads it, and is what deciding sees.
    p_return, alone = (
        chance.astype(np.float64) for chance in (cells(matrix.p_return), matrix.p_return_if_not_contacted[rows])
    )
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
            "explanation": note or None,
            "model_version": matrix.model_version,
        }
    )


class Segments:
    """What the segments of a date look like, gathered batch by batch.

    Only what the profiles show is kept of a user: the segment and the segment's main features.
    """

    def __init__(self, model: ScoringModel, events: int) -> None:
        self._segmenter = model.segmenter
        self._sizes: Counter[str] = Counter()
        self._totals: dict[str, np.ndarray] = {}
        self._events = events
        self._features: list[pd.DataFrame] = []
        self._names: list[np.ndarray] = []
        self.profiles: tuple[SegmentProfile, ...] = ()

    def add(self, predicted: UserPredictions, values: np.ndarray) -> None:
        """Take in a batch with its values, (users, events)."""
        # In millionths, as whole numbers: their sum does not depend on how users were split into batches.
        millionths = np.rint(values * 10**_MONEY_DIGITS).astype(np.int64)
        names, position = np.unique(predicted.segments.astype(str), return_inverse=True)
        for number, name in enumerate(names):
            inside = position == number
            self._sizes[str(name)] += int(inside.sum())
            total = self._totals.setdefault(str(name), np.zeros(self._events, dtype=np.int64))
            total += millionths[inside].sum(axis=0)
        if self._segmenter is not None:
            shown = [name for name in self._segmenter.main_features_ if name in predicted.features]
            self._features.append(predicted.features[shown].reset_index(drop=True))
            self._names.append(predicted.segments)

    def rows(self, event_types: np.ndarray) -> pd.DataFrame:
        """Return the rows of predictions.segments, one per segment that has users."""
        described = {}
        users = sum(self._sizes.values())
        if self._segmenter is not None and users:
            features = pd.concat(self._features, ignore_index=True)
            self.profiles = self._segmenter.describe(features, np.concatenate(self._names))
            described = {profile.segment: profile for profile in self.profiles}
        rows = []
        for segment, size in sorted(self._sizes.items()):
            profile, means = described.get(segment), self._totals[segment] / size / 10**_MONEY_DIGITS
            rows.append(
                {
                    "segment": segment,
                    "size": size,
                    "share": size / users,
                    "definition": profile.definition if profile else "all inactive users",
                    "medians": {} if profile is None else dict(profile.medians),
                    "example": profile.example if profile else None,
                    "best_event_type": event_types[int(means.argmax())] if len(means) else None,
                    "expected_value": round(float(means.max()), _MONEY_DIGITS) if len(means) else None,
                }
            )
        names = ["segment", "size", "share", "definition", "medians", "example", "best_event_type", "expected_value"]
        return pd.DataFrame(rows, columns=names)


def _money(amounts: np.ndarray) -> np.ndarray:
    """Round to the digits that are written (half to even), so that equal runs write equal numbers."""
    return np.round(np.asarray(amounts, dtype=np.float64), _MONEY_DIGITS) + 0.0
