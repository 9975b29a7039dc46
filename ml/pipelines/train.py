"""Stage: learn from past moments who returns, pays and how much, and find segments - when it is due."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from ml.contracts import StageReport
from ml.pipelines.activity import fit_activity, read_activity, write_user_activity
from ml.pipelines.answers import read_answers
from ml.pipelines.friends import learn_influence
from ml.pipelines.model import (
    MODEL_NAME,
    ScoringModel,
    add_worth,
    mirror_models,
    open_registry,
    outcome_windows,
)
from ml.pipelines.promotion import judge_challenger
from ml.pipelines.reading import (
    TrainingRows,
    examples_built_with,
    purchase_columns,
    read_inactive_users,
    read_purchases,
    read_training_rows,
)
from ml.pipelines.sanity import Probe
from ml.pipelines.watch_drift import needs_retraining
from ml.registry import RegistryError
from ml.response import (
    WORTH,
    AffinityModel,
    ConversionModel,
    Examples,
    OutcomeModel,
    ResponseError,
    ReturnModel,
    RevenueModel,
    importance_by_feature,
)
from ml.response.metrics import expected_calibration_error, high_value_metrics
from ml.segmentation import UserSegmenter
from ml.value import LifetimeValueModel, MoneyBySegment
from warehouse.door import Warehouse
from warehouse.settings import Settings

__all__ = ["MOST_EXAMPLES", "THREADS", "fit_scoring_model", "fit_segments", "train_models"]

# Two threads: the figure is part of the version, because sums of floats depend on how they are split.
THREADS = 2
# What fits into memory and teaches as much as all there is: rows beyond these change nothing but the time it takes.
MOST_EXAMPLES = 400_000
_MOST_SEGMENTED = 100_000
# So many features are ranked in the metrics of a version.
_RANKED_FEATURES = 20
# Metrics of the factors by which money is brought to what came in.
_MONEY = "money_"
# With fewer moments a calibration error, or a share of those found, is mostly chance.
_JUDGED_ROWS = 200
_Model = TypeVar("_Model", bound=OutcomeModel)


def train_models(as_of_date: date, settings: Settings) -> StageReport:
    """Train a version on what was known on a date, unless one is fresh enough.

    A version is fresh for `retrain_after_days` after its own date, unless drift asks for a new one. The first version
    is promoted at once; a later one if it beats the champion, or if the champion's examples were others: outcomes after
    its date say nothing of history that landed since.
    """
    warehouse = Warehouse(settings.warehouse_url)
    registry = open_registry(warehouse, settings)
    messages: list[str] = []
    champion = registry.champion(MODEL_NAME, as_of_date)
    newest = registry.newest(MODEL_NAME, as_of_date)
    fresh_from = as_of_date - timedelta(days=settings.retrain_after_days)
    incumbent = None
    if champion is not None:
        try:
            incumbent = ScoringModel.from_state(registry.load(champion))
            # Whoever speaks nonsense can neither score nor be compared with.
            problem = (
                incumbent.problem_with(settings)
                or _change_of_examples(incumbent.built_with, examples_built_with(warehouse))
                or Probe.read(warehouse, as_of_date).problem_of(incumbent)
            )
        except RegistryError as error:
            problem = str(error)
        if problem:
            incumbent = None
            messages.append(f"The champion cannot be used, so a new model takes over. {problem}")
    is_young = newest is not None and newest.as_of_date > fresh_from
    if is_young and newest is not None and needs_retraining(warehouse, as_of_date, newest.as_of_date):
        messages.append(f"Version {newest.version} is young, but users or outcomes have drifted: trained anew.")
        is_young = False
    if champion is not None and incumbent is not None and newest is not None and is_young:
        sentence = (
            f"Nothing was trained: version {newest.version} of {newest.as_of_date} is younger than "
            f"{settings.retrain_after_days} days."
        )
        told = (sentence, *mirror_models(registry))
        return StageReport("train_models", as_of_date, 0, told, {"version": champion.version})
    rows = read_training_rows(warehouse, as_of_date, most=MOST_EXAMPLES, with_every_return=True)
    if rows.left_out:
        messages.append(
            f"{len(rows.keys)} examples were learned from, the newest randomised ones and some others; "
            f"{rows.left_out} were left out, except for what came after a return."
        )
    model, metrics, sentences = fit_scoring_model(warehouse, as_of_date, rows, settings, previous=incumbent)
    promote = True
    if champion is not None and incumbent is not None:
        try:
            verdict = judge_challenger(
                model,
                incumbent,
                incumbent.responses_as_of or champion.as_of_date,
                rows.returns(),
                thread_count=THREADS,
                random_state=settings.seed,
            )
        except ResponseError as error:
            messages.append(f"The champion no longer fits the feature tables, so the new model takes over. {error}")
        else:
            promote = verdict.promote
            messages.append(verdict.sentence)
    version = registry.save(
        MODEL_NAME,
        model.to_state(),
        as_of_date=as_of_date,
        parameters={
            "seed": settings.seed,
            "threads": THREADS,
            "examples": len(rows.keys),
            "features": rows.features.shape[1] + rows.event_features.shape[1],
            "return_uplift_model": model.returns.uplift_.chosen,
            "return_model": model.returns.baseline_.learner.name,
            "conversion_model": model.conversions.baseline_.learner.name,
            "revenue_model": model.revenues.baseline_.learner.name,
        },
        metrics=metrics,
        promote=promote,
    )
    if not promote and champion is not None and incumbent is not None:
        money, money_metrics = calibrate_money(rows, incumbent.conversions, incumbent.revenues, model.segmenter)
        refreshed = incumbent.refreshed(model, champion.as_of_date, money)
        version_in_charge = registry.save(
            MODEL_NAME,
            refreshed.to_state(),
            as_of_date=as_of_date,
            parameters={"seed": settings.seed, "responses_as_of": str(refreshed.responses_as_of)},
            metrics={
                **{name: figure for name, figure in champion.metrics.items() if not name.startswith(_MONEY)},
                **{name: figure for name, figure in metrics.items() if name.startswith("segments_")},
                **money_metrics,
            },
            promote=True,
        )
        messages.append(
            f"Segments, lifetime values and rhythms were refreshed beside the models of {refreshed.responses_as_of}: "
            f"version {version_in_charge.version}."
        )
    messages += mirror_models(registry)
    shown = ("return_roc_auc", "return_average_precision", "return_base_rate", "return_expected_calibration_error")
    details: dict[str, float | int | str] = {
        "version": version.version,
        "status": version.status,
        "return_model": model.returns.baseline_.learner.name,
        "uplift_model": model.returns.uplift_.chosen,
        **{name: round(metrics[name], 4) for name in (*shown, "segments_moved_share") if name in metrics},
    }
    return StageReport("train_models", as_of_date, len(rows.keys), (*messages, *sentences), details)


def fit_scoring_model(
    warehouse: Warehouse,
    as_of_date: date,
    rows: TrainingRows,
    settings: Settings,
    *,
    previous: ScoringModel | None = None,
) -> tuple[ScoringModel, dict[str, float], tuple[str, ...]]:
    """Fit every part of the scoring model; return it with its metrics and sentences on what could not be learned.

    Segments that are still there keep the names they have in `previous`.
    """
    seeds: dict[str, Any] = {
        "thread_count": THREADS,
        "random_state": settings.seed,
        "tuning_trials": settings.tuning_trials,
        "tuning_seconds": settings.tuning_seconds,
    }
    examples = rows.returns()
    affinity = AffinityModel().fit(read_answers(warehouse, as_of_date), examples)
    conversions = _fit(ConversionModel(**seeds, affinity=affinity), rows.conversions())
    revenues = _fit(RevenueModel(**seeds), rows.revenues())
    returns = _fit(
        ReturnModel(**seeds, affinity=affinity),
        replace(examples, features=add_worth(examples.features, conversions, revenues)),
    )
    purchases = read_purchases(warehouse, as_of_date)
    lifetime = LifetimeValueModel().fit(
        **purchase_columns(purchases), mean_amount=purchases["payments_mean_amount"].to_numpy(dtype=float)
    )
    activity = fit_activity(read_activity(warehouse, as_of_date), settings)
    if settings.inactivity.definition != "fixed":
        write_user_activity(warehouse, as_of_date, activity, settings, version=None)
    users = read_inactive_users(warehouse, as_of_date, most=_MOST_SEGMENTED, relation=settings.activity_relation)
    worth = float(add_worth(users, conversions, revenues)[WORTH].mean()) if len(users) else 0.0
    influence = learn_influence(warehouse, as_of_date, value_of_a_return=worth)
    segmenter, metrics, moved = fit_segments(users, None if previous is None else previous.segmenter, settings)
    parts: Mapping[str, OutcomeModel] = {"return": returns, "conversion": conversions, "revenue": revenues}
    for name, part in parts.items():
        metrics |= {f"{name}_{metric}": figure for metric, figure in part.metrics_.items()}
        ranking = list(importance_by_feature(part.baseline_.learner).items())[:_RANKED_FEATURES]
        metrics |= {f"{name}_importance/{feature}": share for feature, share in ranking}
    messages = tuple(message for part in parts.values() for message in part.messages_) + lifetime.messages_
    metrics |= {"influence_extra_rate": influence.extra_rate_, "influence_standard_error": influence.standard_error_}
    messages += (*activity.messages_, *influence.messages_, *moved)
    money, money_metrics = calibrate_money(rows, conversions, revenues, segmenter)
    metrics |= money_metrics | measure_segments(
        examples, returns, add_worth(examples.features, conversions, revenues)[WORTH], segmenter
    )
    model = ScoringModel(
        returns,
        conversions,
        revenues,
        lifetime,
        activity,
        influence,
        segmenter,
        money,
        windows=outcome_windows(settings),
        built_with=examples_built_with(warehouse),
    )
    return model, metrics, messages


def _change_of_examples(then: str, now: str) -> str:
    """Say that examples were built anew, with other settings or with history that landed since; else say nothing."""
    if not then or not now or then == now:
        return ""
    return f"Its examples were built anew since. Then: {then} Now: {now}"


def calibrate_money(
    rows: TrainingRows, conversions: ConversionModel, revenues: RevenueModel, segmenter: UserSegmenter | None
) -> tuple[MoneyBySegment, dict[str, float]]:
    """Hold the money expected of past returns against what came in, by segment; of users whom no event had reached.

    What is expected of a return is predicted by models that have not seen its user.

    Returns:
        the factors, and as metrics each of them with its standard error.
    """
    seen = rows.worths()
    seen = seen.take(~seen.is_exposed)
    if segmenter is None or not len(seen) or not len(seen.features.columns):
        return MoneyBySegment(), {}
    predicted = conversions.predict_unseen(rows.conversions(), seen) * revenues.predict_unseen(rows.revenues(), seen)
    money = MoneyBySegment().fit(segmenter.predict(seen.features), predicted, seen.outcome, seen.user_ids)
    metrics = {f"{_MONEY}factor/{name}": factor for name, factor in money.factors_.items()}
    return money, metrics | {f"{_MONEY}factor_error/{name}": error for name, error in money.errors_.items()}


def measure_segments(
    examples: Examples, returns: ReturnModel, worth: pd.Series, segmenter: UserSegmenter | None
) -> dict[str, float]:
    """How good the chance to return is where the money is, and in each segment, on moments that its report rests on.

    Args:
        examples: moments with their outcome; those without an invitation are judged.
        returns: taught with them.
        worth: money of a return, one for each moment.
        segmenter: names the segments as they are now.

    Returns:
        precision and recall among the tenth of the highest worth, also of those of each segment that has enough of
        them, and the expected calibration error of each segment with enough moments.
    """
    judged = returns.baseline_.report
    if len(judged):
        judged = judged[np.isfinite(judged["prediction"].to_numpy(dtype=float))]
    alone = np.ones(len(examples), dtype=bool) if examples.is_exposed.all() else ~examples.is_exposed
    if segmenter is None or not len(judged) or not len(examples.features.columns):
        return {}
    rows = np.flatnonzero(alone)[judged["row"].to_numpy()]
    outcome, prediction, weight = (judged[name].to_numpy() for name in ("outcome", "prediction", "weight"))
    money = worth.to_numpy(dtype=float)[rows]
    metrics = high_value_metrics(outcome, prediction, weight, money)
    segments = segmenter.predict(examples.features.iloc[rows]).astype(str)
    for name in sorted(set(segments)):
        mine = segments == name
        if mine.sum() >= _JUDGED_ROWS:
            error = expected_calibration_error(outcome[mine], prediction[mine], weight[mine])
            metrics[f"expected_calibration_error/{name}"] = error
        found = high_value_metrics(outcome, prediction, weight, money, within=mine, fewest=_JUDGED_ROWS)
        metrics |= {f"{metric}/{name}": figure for metric, figure in found.items()}
    return {f"return_{name}": figure for name, figure in metrics.items()}


def fit_segments(
    users: pd.DataFrame, previous: UserSegmenter | None, settings: Settings
) -> tuple[UserSegmenter | None, dict[str, float], tuple[str, ...]]:
    """Fit segments on inactive users, under the names of the last ones where these are still there.

    Returns:
        the segmenter (None without users), its figures with the share of users whose segment changed its name, and a
        sentence on that.
    """
    if len(users) == 0:
        return None, {}, ()
    segmenter = UserSegmenter(random_state=settings.seed).fit(users, previous=previous)
    figures = {
        f"segments_{name}": float(figure) for name, figure in segmenter.choice_.items() if not isinstance(figure, str)
    }
    refit = segmenter.refit_
    if refit is None:
        return segmenter, figures, ()
    changes = [f"{word}: {', '.join(names)}" for word, names in (("new", refit.added), ("gone", refit.gone)) if names]
    sentence = "; ".join(
        [f"Segments were fitted anew: {refit.moved_share:.1%} of the users have another segment than before", *changes]
    )
    return segmenter, {**figures, "segments_moved_share": refit.moved_share}, (f"{sentence}.",)


def _fit(model: _Model, examples: Examples) -> _Model:
    model.fit(examples)
    return model
