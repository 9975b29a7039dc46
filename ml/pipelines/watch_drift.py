"""Stage: hold today's users and predictions against those of the day the models were taught, and ask to teach anew."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import pandas as pd

from ml.contracts import StageReport
from ml.drift import (
    CalibrationBin,
    Histogram,
    calibration_drift,
    kolmogorov_smirnov,
    population_stability_index,
)
from ml.pipelines.histograms import Bins, Variables, read_bins, read_histograms, watched_features, watched_predictions
from ml.pipelines.model import MODEL_NAME, load_champion, mirror_models, open_registry
from ml.registry import RegistryError
from warehouse.door import Warehouse
from warehouse.settings import Settings

__all__ = ["needs_retraining", "watch_drift"]

# Fewer users, or fewer returns, say nothing of a distribution.
_MINIMUM_USERS = 200
_MINIMUM_RETURNS = 20

# What this stage writes to audit.health_checks; checks of other stages stay when a date is watched again.
_MODEL_IN_CHARGE = "model in charge"
_NOT_SHOWN = "models that MLflow does not show"
_DRIFTED_FEATURES = "share of features that drifted"
_DRIFT_OF_PREDICTIONS = "drift of predictions"
_CALIBRATION_OF_RETURNS = "calibration of the chance to return"
_OWN_CHECKS = [_MODEL_IN_CHARGE, _NOT_SHOWN, _DRIFTED_FEATURES, _DRIFT_OF_PREDICTIONS, _CALIBRATION_OF_RETURNS]

# Users who were not invited, by tenths of their chance, of the newest date whose return window is over.
CALIBRATION = """
    with closed as (
        select max(as_of_date) as day from predictions.user_scores
        where as_of_date <= %(as_of_date)s - %(days)s and as_of_date >= %(reference_date)s
    ),
    left_alone as (
        select scores.user_id, scores.p_return_if_not_contacted as chance, closed.day
        from closed inner join predictions.user_scores as scores on scores.as_of_date = closed.day
        where scores.p_return_if_not_contacted is not null
            and not exists (
                select from marts.fct_exposures as exposures
                where exposures.user_id = scores.user_id and exposures.arm = 'treated'
                    and exposures.exposed_at >= closed.day and exposures.exposed_at < closed.day + %(days)s
            )
            and not exists (
                select from predictions.decisions as decisions
                where decisions.user_id = scores.user_id and decisions.as_of_date = closed.day
                    and decisions.decision = 'target'
            )
    ),
    outcomes as (
        select
            chance,
            ntile(10) over (order by chance, user_id) as tenth,
            exists (
                select from marts.fct_user_days as days
                where days.user_id = left_alone.user_id
                    and days.activity_date >= left_alone.day and days.activity_date < left_alone.day + %(days)s
            ) as has_returned
        from left_alone
    )
    select count(*) as users, sum(chance) as expected, sum(cast(has_returned as integer)) as happened
    from outcomes group by tenth order by tenth
"""


def watch_drift(as_of_date: date, settings: Settings) -> StageReport:
    """Compare the inactive users of a date, and what was said of them, with the date the models were trained for.

    Writes predictions.drift and audit.health_checks for the date, and predictions.drift_references the first time a
    model is watched; what MLflow does not show yet is written there first. Whether models are to be trained anew
    follows from the rows (`needs_retraining`).
    """
    warehouse = Warehouse(settings.warehouse_url)
    registry = open_registry(warehouse, settings)
    late = mirror_models(registry)
    behind = registry.behind(MODEL_NAME)
    shown = _check(as_of_date, _NOT_SHOWN, "warning" if behind else "ok", behind, None)
    try:
        model, version, passed_over = load_champion(warehouse, as_of_date, settings)
    except RegistryError as error:
        _write(warehouse, as_of_date, [], [_check(as_of_date, _MODEL_IN_CHARGE, "alert", None, None), shown])
        return StageReport("watch_drift", as_of_date, 0, (str(error), *late), {"status": "alert"})
    reference_date = model.responses_as_of or version.as_of_date
    wrong = model.problem_with(settings)
    due = (f"Model {version.version} is not used. {wrong}",) if wrong else ()
    rows = []
    watched = [
        ("feature", watched_features(warehouse, settings.activity_relation)),
        ("prediction", watched_predictions()),
    ]
    for subject, relations in watched:
        for variables in relations:
            rows += _compare(warehouse, subject, variables, as_of_date, reference_date, settings)
    rows.append(_calibration(warehouse, as_of_date, reference_date, settings))
    for row in rows:
        row |= {"as_of_date": as_of_date, "reference_date": reference_date, "model_version": version.version}
    checks = [
        *_checks(as_of_date, rows, settings),
        _check(as_of_date, _MODEL_IN_CHARGE, "alert" if due else "warning" if passed_over else "ok", None, None),
        shown,
    ]
    _write(warehouse, as_of_date, rows, checks)
    return _report(as_of_date, rows, checks, (*passed_over, *due, *late))


def needs_retraining(warehouse: Warehouse, as_of_date: date, newest_date: date) -> bool:
    """Whether an alert was raised by a date that was not there yet when the newest version was trained.

    An alert that stays although new models were trained does not ask again: then age decides, as ever.
    """
    return bool(
        warehouse.scalar(
            """
            with checks as (
                select * from audit.health_checks where "check" = any(%(checks)s)
            )
            select exists (
                select from checks as raised
                where raised.status = 'alert' and raised.as_of_date > %(newest)s and raised.as_of_date <= %(as_of_date)s
                    and not exists (
                        select from checks as earlier
                        where earlier."check" = raised."check" and earlier.status = 'alert' and earlier.as_of_date = (
                            select max(as_of_date) from checks where as_of_date <= %(newest)s
                        )
                    )
            )
            """,
            {"as_of_date": as_of_date, "newest": newest_date, "checks": _OWN_CHECKS},
        )
    )


def _compare(
    warehouse: Warehouse,
    subject: str,
    variables: Variables,
    as_of_date: date,
    reference_date: date,
    settings: Settings,
) -> list[dict[str, object]]:
    """Distances of all columns of a relation from the reference, which is made when there is none."""
    known = _read_reference(warehouse, subject, reference_date)
    names = (*variables.numbers, *variables.texts)
    if not any(name in known for name in names):
        _learn_reference(warehouse, subject, variables, as_of_date, reference_date)
        known = _read_reference(warehouse, subject, reference_date)
    today = read_histograms(
        warehouse, variables, as_of_date, {name: bins for name, (bins, _) in known.items() if name in names}
    )
    rows = []
    for name, current in sorted(today.items()):
        reference = known[name][1]
        is_text = name in variables.texts
        stability = population_stability_index(reference, current)
        few = min(reference.users, current.users) < _MINIMUM_USERS
        alerts = settings.alerts
        status = "alert" if stability > alerts.maximum_psi else "warning" if stability > alerts.warn_psi else "ok"
        rows.append(
            {
                "subject": subject,
                "variable": name,
                "psi": stability,
                "ks": None if is_text else kolmogorov_smirnov(reference, current),
                "missing_share": current.missing_share,
                "reference_missing_share": reference.missing_share,
                "users": current.users,
                "reference_users": reference.users,
                "status": "unknown" if few else status,
            }
        )
    return rows


def _read_reference(warehouse: Warehouse, subject: str, reference_date: date) -> dict[str, tuple[Bins, Histogram]]:
    with warehouse.transaction() as connection:
        rows = connection.execute(
            "select variable, edges, categories, counts, missing from predictions.drift_references"
            " where subject = %s and reference_date = %s",
            (subject, reference_date),
        ).fetchall()
    return {
        variable: (Bins(tuple(edges), tuple(categories)), Histogram(np.array(counts, dtype=np.int64), missing))
        for variable, edges, categories, counts, missing in rows
    }


def _learn_reference(
    warehouse: Warehouse, subject: str, variables: Variables, as_of_date: date, reference_date: date
) -> None:
    """Store how the users of the reference date lie, or of the first date after it whose rows are still there."""
    day = warehouse.scalar(
        f"select min(as_of_date) from {variables.relation} as source"
        f" where as_of_date between %s and %s and {variables.population}",
        (reference_date, as_of_date),
    )
    if day is None:
        return
    bins = read_bins(warehouse, variables, day)
    with warehouse.transaction() as connection:
        for name, histogram in sorted(read_histograms(warehouse, variables, day, bins).items()):
            connection.execute(
                "insert into predictions.drift_references"
                " (reference_date, subject, variable, edges, categories, counts, missing)"
                " values (%s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
                (
                    reference_date,
                    subject,
                    name,
                    list(bins[name].edges),
                    list(bins[name].categories),
                    histogram.counts.tolist(),
                    histogram.missing,
                ),
            )


def _calibration(warehouse: Warehouse, as_of_date: date, reference_date: date, settings: Settings) -> dict[str, object]:
    """Whether the chances of users who were left alone came true."""
    rows = warehouse.read_frame(
        CALIBRATION,
        {"as_of_date": as_of_date, "reference_date": reference_date, "days": settings.return_window_days},
    )
    bins = [
        CalibrationBin(int(users), float(expected), int(happened))
        for users, expected, happened in rows.itertuples(index=False)
    ]
    found = calibration_drift(bins)
    is_known = found.users >= _MINIMUM_USERS and sum(one.happened for one in bins) >= _MINIMUM_RETURNS
    is_off = found.excess > settings.alerts.maximum_calibration_error
    return {
        "subject": "calibration",
        "variable": "p_return_if_not_contacted",
        "calibration_error": found.excess if found.users else None,
        "users": found.users,
        "reference_users": 0,
        "status": "unknown" if not is_known else "alert" if is_off else "ok",
    }


def _checks(as_of_date: date, rows: Sequence[dict[str, object]], settings: Settings) -> list[dict[str, object]]:
    """The findings in three figures."""
    alerts = settings.alerts

    def of(subject: str) -> list[dict[str, object]]:
        return [row for row in rows if row["subject"] == subject and row["status"] != "unknown"]

    checks = []
    features, predictions, calibration = of("feature"), of("prediction"), of("calibration")
    share = float(np.mean([row["status"] == "alert" for row in features])) if features else None
    largest = max((float(str(row["psi"])) for row in predictions), default=None)
    error = float(str(calibration[0]["calibration_error"])) if calibration else None
    for name, value, limit in (
        (_DRIFTED_FEATURES, share, alerts.maximum_drifted_share),
        (_DRIFT_OF_PREDICTIONS, largest, alerts.maximum_psi),
        (_CALIBRATION_OF_RETURNS, error, alerts.maximum_calibration_error),
    ):
        status = "unknown" if value is None else "alert" if value > limit else "ok"
        checks.append(_check(as_of_date, name, status, value, limit))
    return checks


def _check(as_of_date: date, name: str, status: str, value: float | None, limit: float | None) -> dict[str, object]:
    return {"as_of_date": as_of_date, "check": name, "status": status, "value": value, "limit": limit}


def _write(
    warehouse: Warehouse, as_of_date: date, rows: Sequence[dict[str, object]], checks: Sequence[dict[str, object]]
) -> None:
    key = {"as_of_date": as_of_date, "checks": _OWN_CHECKS}
    with warehouse.transaction() as connection:
        connection.execute("delete from predictions.drift where as_of_date = %(as_of_date)s", key)
        if rows:
            warehouse.copy_frame(connection, "predictions.drift", pd.DataFrame(list(rows)))
        connection.execute(
            'delete from audit.health_checks where as_of_date = %(as_of_date)s and "check" = any(%(checks)s)', key
        )
        warehouse.copy_frame(connection, "audit.health_checks", pd.DataFrame(list(checks)))


def _report(
    as_of_date: date,
    rows: Sequence[dict[str, object]],
    checks: Sequence[dict[str, object]],
    passed_over: tuple[str, ...],
) -> StageReport:
    drifted = sorted(str(row["variable"]) for row in rows if row["status"] == "alert" and row["subject"] == "feature")
    messages = list(passed_over)
    if drifted:
        shown = ", ".join(drifted[:5]) + (f" and {len(drifted) - 5} more" if len(drifted) > 5 else "")
        messages.append(f"Users have changed since the models were trained: {shown}.")
    raised = [str(check["check"]) for check in checks if check["status"] == "alert"]
    if raised:
        messages.append(f"Models are due to be trained again: {', '.join(raised)}.")
    details: dict[str, float | int | str] = {
        str(check["check"]): round(float(str(check["value"])), 4) for check in checks if check["value"] is not None
    }
    return StageReport(
        "watch_drift", as_of_date, len(rows), tuple(messages), {**details, "status": "alert" if raised else "ok"}
    )
