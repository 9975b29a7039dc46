"""Stage: write what the champion says about every inactive user - scores, the best three events, segments."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
from threadpoolctl import threadpool_limits

from ml.contracts import StageReport
from ml.pipelines.activity import ACTIVITY_TABLE, comparison_sentence, write_user_activity
from ml.pipelines.batches import ROWS_PER_BATCH, write_behind
from ml.pipelines.matrix import Prediction, UserPredictions, best_events, matrix_values
from ml.pipelines.model import ScoringModel
from ml.pipelines.pictures import save_pictures
from ml.pipelines.portrait import Portrait
from ml.pipelines.sample import UserSample
from ml.segmentation import SegmentProfile
from ml.value import value_score
from warehouse.door import Warehouse
from warehouse.settings import Settings

__all__ = ["score_users"]

_BEST = 3
_MONEY_DIGITS = 6
# Medians of so many users are those of all to within half a percent of the users.
_PROFILED_USERS = 100_000
_SEGMENT = "_segment"


# More threads of linear algebra would mostly wait for each other, and take a core from Postgres.
@threadpool_limits.wrap(limits=1)
def score_users(as_of_date: date, settings: Settings, *, rows_per_batch: int = ROWS_PER_BATCH) -> StageReport:
    """Score every inactive user of a date and replace the rows of that date in one transaction.

    Writes predictions.user_activity (who is inactive by which definition; a row per user, in a transaction of its own
    because the others may rest on it), predictions.user_scores (a row per inactive user), predictions.response_scores
    (a user's best three open events by expected incremental value) and predictions.segments. Users pass through memory
    `rows_per_batch` at a time; what is written does not depend on that number.
    """
    warehouse = Warehouse(settings.warehouse_url)
    prediction = Prediction.of(warehouse, as_of_date, settings)
    version = prediction.model_version
    segments, portrait = Segments(prediction.model, len(prediction.events)), Portrait(prediction.model.segmenter)
    written = Counter[str]()
    evidence: dict[str, str] = {}
    key = {"as_of_date": as_of_date}
    # Who is inactive by which definition is written beside, and pictures are drawn while Postgres builds the keys.
    with (
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="beside") as beside,
        warehouse.transaction() as connection,
    ):
        activity = beside.submit(
            write_user_activity, warehouse, as_of_date, prediction.model.activity, settings, version=version
        )
        if settings.activity_relation == ACTIVITY_TABLE:
            activity.result()
        with (
            warehouse.replacing(connection, "predictions.user_scores", key) as write_users,
            warehouse.replacing(connection, "predictions.response_scores", key) as write_responses,
        ):

            def write(rows: tuple[pa.Table, pa.Table]) -> None:
                written["users"] += write_users(rows[0])
                written["responses"] += write_responses(rows[1])

            with write_behind(write) as hand_over:
                for predicted in prediction.batches(rows_per_batch, intervals=_BEST):
                    values = matrix_values(predicted.matrix)
                    segments.add(predicted, values)
                    evidence.update(
                        zip(predicted.matrix.events["event_type"], predicted.matrix.events["evidence"], strict=True)
                    )
                    scores = user_scores(predicted, values)
                    portrait.add(predicted.features, predicted.segments, scores["value_score"])
                    responses = response_scores(predicted, values, prediction.note)
                    hand_over((_as_rows(scores, as_of_date), _as_rows(responses, as_of_date)))
            profiles = segments.rows(prediction.events["event_type"].to_numpy(dtype=object))
            drawn = beside.submit(portrait.draw, warehouse, segments.profiles)
        comparison = activity.result()
        warehouse.replace_rows(connection, "predictions.segments", profiles.assign(**key, model_version=version), key)
    pictures = drawn.result()
    folder = save_pictures(warehouse, as_of_date, "score_users", pictures, settings) if pictures else None
    messages = [*prediction.messages, comparison_sentence(comparison, settings)]
    if not written["users"]:
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
        "users": written["users"],
        "events": len(prediction.events),
        "segments": len(profiles),
        "version": version,
    }
    if folder is not None:
        details["pictures"] = str(folder)
    return StageReport("score_users", as_of_date, written.total(), tuple(messages), details)


def user_scores(predicted: UserPredictions, values: np.ndarray) -> dict[str, np.ndarray | pa.Array]:
    """Return columns of predictions.user_scores, a row per inactive user."""
    matrix = predicted.matrix
    users = len(matrix.user_ids)
    has_events = values.shape[1] > 0
    rows = np.arange(users)
    # argmax takes the first of equals, and events are sorted by event_id: ties are decided the same way every time.
    best = values.argmax(axis=1) if has_events else np.full(users, -1)
    score = value_score(
        expected_incremental_value=values[rows, best] if has_events else None,
        p_return_if_not_contacted=matrix.p_return_if_not_contacted,
        lifetime_value=predicted.lifetime_value_if_back,
    )
    return {
        "user_id": pa.array(matrix.user_ids, pa.string()),
        "segment": pa.array(predicted.segments, pa.string()),
        "p_alive": predicted.p_alive,
        "p_return_if_not_contacted": matrix.p_return_if_not_contacted,
        "p_return_best": matrix.p_return[rows, best] if has_events else matrix.p_return_if_not_contacted,
        "best_event_id": _words(matrix.events["event_id"], best),
        "p_conversion": matrix.p_conversion[rows, best] if has_events else matrix.p_conversion_if_not_contacted,
        "lifetime_value": _money(predicted.lifetime_value),
        "value_score": _money(score),
        "social_influence": _money(predicted.social_influence),
        "is_reachable": predicted.is_reachable,
        "model_version": _words([matrix.model_version], np.zeros(users, dtype=np.int64)),
    }


def response_scores(predicted: UserPredictions, values: np.ndarray, note: str = "") -> dict[str, np.ndarray | pa.Array]:
    """Return columns of predictions.response_scores: the best three events of each user, ties by event_id.

    `note` says of every row what stands in for the model in charge.
    """
    matrix = predicted.matrix
    # In the order of the key, which is built in no time from rows that are sorted.
    order = np.sort(best_events(values, _BEST), axis=1)
    rows = np.repeat(np.arange(len(order)), order.shape[1])
    columns = order.ravel()
    every = np.zeros(len(rows), dtype=np.int64)

    def cells(array: np.ndarray | None) -> np.ndarray:
        return np.full(len(rows), np.nan) if array is None else array[rows, columns]

    # As they are, and not rounded: what is written adds up for whoever reads it, and is what deciding sees.
    p_return, alone = (
        chance.astype(np.float64) for chance in (cells(matrix.p_return), matrix.p_return_if_not_contacted[rows])
    )
    return {
        "user_id": pa.array(matrix.user_ids, pa.string()).take(pa.array(rows)),
        "event_id": _words(matrix.events["event_id"], columns),
        "event_type": _words(matrix.events["event_type"], columns),
        "p_return": p_return,
        "p_return_if_not_contacted": alone,
        "uplift": p_return - alone,
        "uplift_low": cells(matrix.uplift_low),
        "uplift_high": cells(matrix.uplift_high),
        "p_conversion": cells(matrix.p_conversion),
        "p_conversion_if_not_contacted": matrix.p_conversion_if_not_contacted[rows],
        "expected_revenue": _money(cells(matrix.revenue)),
        "expected_value": _money(cells(values)),
        "evidence": _words(matrix.events["evidence"], columns),
        "explanation": _words([note or None], every),
        "model_version": _words([matrix.model_version], every),
    }


def _words(words: Sequence[str | None] | pd.Series, position: np.ndarray) -> pa.Array:
    """Texts by position, none where it is -1."""
    return pa.array([*words, None], pa.string()).take(pa.array(np.where(position < 0, len(words), position)))


def _as_rows(columns: dict[str, np.ndarray | pa.Array], as_of_date: date) -> pa.Table:
    """Columns as rows of a date, every figure to its last bit."""
    exact = {
        name: column.astype(np.float64) if column.dtype == np.float32 else column
        for name, column in columns.items()
        if isinstance(column, np.ndarray)
    }
    rows = len(columns["user_id"])
    return pa.table({**columns, **exact, "as_of_date": pa.repeat(pa.scalar(as_of_date), rows)})


class Segments:
    """What the segments of a date look like, gathered batch by batch.

    Sizes and values are of all users; medians and examples of `_PROFILED_USERS` at most, of whom the segment and the
    segments' main features are kept.
    """

    def __init__(self, model: ScoringModel, events: int) -> None:
        self._segmenter = model.segmenter
        self._sizes: Counter[str] = Counter()
        self._totals: dict[str, np.ndarray] = {}
        self._events = events
        self._users = UserSample(_PROFILED_USERS)
        self.profiles: tuple[SegmentProfile, ...] = ()

    def add(self, predicted: UserPredictions, values: np.ndarray) -> None:
        """Take in a batch with its values, (users, events)."""
        # In millionths, as whole numbers: their sum does not depend on how users were split into batches.
        millionths = np.rint(values * 10**_MONEY_DIGITS).astype(np.int64)
        position, names = pd.factorize(predicted.segments)
        for number, name in enumerate(names):
            inside = position == number
            self._sizes[str(name)] += int(inside.sum())
            total = self._totals.setdefault(str(name), np.zeros(self._events, dtype=np.int64))
            total += millionths[inside].sum(axis=0)
        if self._segmenter is not None:
            user_ids = predicted.features.index.to_numpy(dtype=object)
            rows = self._users.rows_to_offer(user_ids)
            if rows.size:
                shown = [name for name in self._segmenter.main_features_ if name in predicted.features]
                known = predicted.features[shown].iloc[rows].assign(**{_SEGMENT: predicted.segments[rows]})
                self._users.add(user_ids[rows], known)

    def rows(self, event_types: np.ndarray) -> pd.DataFrame:
        """Return the rows of predictions.segments, one per segment that has users."""
        described = {}
        users = sum(self._sizes.values())
        if self._segmenter is not None and users:
            drawn = self._users.rows
            profiles = self._segmenter.describe(drawn.drop(columns=_SEGMENT), drawn[_SEGMENT].to_numpy(dtype=object))
            self.profiles = tuple(
                replace(profile, size=self._sizes[profile.segment], share=self._sizes[profile.segment] / users)
                for profile in profiles
            )
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
