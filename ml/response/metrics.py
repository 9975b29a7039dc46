"""How good predictions are: ranking, calibration, uplift. Plain functions of arrays, with a weight per row."""

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from ml.response.calibration import log_odds, platt_parameters
from ml.response.learners import SMALLEST_CHANCE
from ml.response.selection import row_losses

_BOOTSTRAP_RUNS = 100


def chance_metrics(outcome: np.ndarray, prediction: np.ndarray, weight: np.ndarray) -> dict[str, float]:
    """Return ranking and calibration of predicted chances (rows,) against outcomes 0/1 (rows,).

    With one class only, ranking is undefined and left out.
    """
    known = np.isfinite(prediction)
    outcome, prediction, weight = outcome[known], prediction[known], weight[known]
    if len(outcome) == 0:
        return {"tested_rows": 0.0}
    chance = np.clip(prediction, SMALLEST_CHANCE, 1 - SMALLEST_CHANCE)
    metrics = {
        "tested_rows": float(len(outcome)),
        "base_rate": float(np.average(outcome, weights=weight)),
        "brier": float(np.average((chance - outcome) ** 2, weights=weight)),
        "log_loss": float(np.average(row_losses("chance", outcome, chance), weights=weight)),
        "expected_calibration_error": expected_calibration_error(outcome, chance, weight),
    }
    if 0 < outcome.sum() < len(outcome):
        metrics["average_precision"] = float(average_precision_score(outcome, chance, sample_weight=weight))
        metrics["roc_auc"] = float(roc_auc_score(outcome, chance, sample_weight=weight))
        metrics["top_decile_lift"] = top_decile_lift(outcome, chance, weight)
        if np.ptp(log_odds(chance)) > 1e-9:
            metrics["calibration_slope"] = float(platt_parameters(chance, outcome, weight, pull=1e-6)[1])
    return metrics


def amount_metrics(outcome: np.ndarray, prediction: np.ndarray, weight: np.ndarray) -> dict[str, float]:
    """Return the errors of predicted amounts (rows,) against amounts (rows,)."""
    known = np.isfinite(prediction)
    outcome, prediction, weight = outcome[known], prediction[known], weight[known]
    if len(outcome) == 0:
        return {"tested_rows": 0.0}
    mean = float(np.average(outcome, weights=weight))
    predicted = float(np.average(prediction, weights=weight))
    return {
        "tested_rows": float(len(outcome)),
        "mean_amount": mean,
        "predicted_to_actual": predicted / mean if mean > 0 else 1.0,
        "mean_absolute_error": float(np.average(np.abs(outcome - prediction), weights=weight)),
        "root_mean_squared_error": float(np.sqrt(np.average((outcome - prediction) ** 2, weights=weight))),
    }


def top_decile_lift(outcome: np.ndarray, prediction: np.ndarray, weight: np.ndarray) -> float:
    """Rate among the tenth with the highest prediction, over the rate of all. Rows tied at the edge count in part."""
    order = np.argsort(-prediction, kind="stable")
    edge = prediction[order][int(np.searchsorted(np.cumsum(weight[order]), 0.1 * weight.sum()))]
    above, tied = prediction > edge, prediction == edge
    tied_share = (0.1 * weight.sum() - weight[above].sum()) / weight[tied].sum()
    share = np.where(above, 1.0, np.where(tied, tied_share, 0.0)) * weight
    return float(np.average(outcome, weights=share) / np.average(outcome, weights=weight))


def high_value_metrics(
    outcome: np.ndarray,
    prediction: np.ndarray,
    weight: np.ndarray,
    worth: np.ndarray,
    within: np.ndarray | None = None,
    fewest: int = 1,
) -> dict[str, float]:
    """Return how well high-value users who come back are found: the tenth of rows with the highest worth.

    The tenth of them with the highest prediction is looked at: precision is the share of it that came back, recall the
    share of all high-value users who came back that is in it. Nothing where nobody of them did, or worth is one figure.

    Args:
        outcome: 0 or 1, (rows,).
        prediction: chance given by a model that has not seen the row, NaN where there is none, (rows,).
        weight: weight of a row.
        worth: money a return is expected to bring, (rows,).
        within: rows to look at, bool, (rows,); who is of high value is told by all. None for all.
        fewest: nothing is said of fewer high-value rows than these.
    """
    known = np.isfinite(prediction) & np.isfinite(worth)
    if not known.any() or np.ptp(worth[known]) == 0:
        return {}
    high = known & (worth >= np.quantile(worth[known], 0.9))
    if within is not None:
        high &= within
    gained = float((weight * outcome)[high].sum())
    if gained == 0 or high.sum() < fewest:
        return {}
    chosen = high & (prediction >= np.quantile(prediction[high], 0.9))
    found = float((weight * outcome)[chosen].sum())
    return {
        "high_value_base_rate": gained / float(weight[high].sum()),
        "high_value_precision": found / float(weight[chosen].sum()),
        "high_value_recall": found / gained,
    }


def expected_calibration_error(
    outcome: np.ndarray, prediction: np.ndarray, weight: np.ndarray, bins: int = 10
) -> float:
    """Mean distance between predicted and happened over bins of equal size by prediction.

    Source: Naeini, Cooper and Hauskrecht (2015), with bins of equal counts, which small samples bear better.
    """
    order = np.argsort(prediction, kind="stable")
    total = 0.0
    for part in np.array_split(order, min(bins, len(order))):
        if weight[part].sum() > 0:
            gap = np.average(outcome[part], weights=weight[part]) - np.average(prediction[part], weights=weight[part])
            total += weight[part].sum() * abs(gap)
    return float(total / weight.sum())


def uplift_curve(
    outcome: np.ndarray, is_exposed: np.ndarray, score: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cumulative uplift when users are taken by falling score.

    Returns:
        share of the users taken (0 to 1) and the uplift among them times that share; rows with the same score are taken
        together, so that ties do not depend on the order of rows.
    """
    order = np.argsort(-score, kind="stable")
    exposed = is_exposed[order].astype(float) * weight[order]
    others = (1.0 - is_exposed[order]) * weight[order]
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    n_exposed, n_others = exposed.cumsum()[ends], others.cumsum()[ends]
    gained = (exposed * outcome[order]).cumsum()[ends]
    gained_others = (others * outcome[order]).cumsum()[ends]
    share = (n_exposed + n_others) / (exposed.sum() + others.sum())
    rate = np.divide(gained, n_exposed, out=np.zeros(len(ends)), where=n_exposed > 0)
    rate_others = np.divide(gained_others, n_others, out=np.zeros(len(ends)), where=n_others > 0)
    return np.append(0.0, share), np.append(0.0, (rate - rate_others) * share)


def area_under_uplift(outcome: np.ndarray, is_exposed: np.ndarray, score: np.ndarray, weight: np.ndarray) -> float:
    """Area under the uplift curve: mean uplift per user when a random share of the best is invited."""
    share, gain = uplift_curve(outcome, is_exposed, score, weight)
    return float(np.trapezoid(gain, share))


def qini(outcome: np.ndarray, is_exposed: np.ndarray, score: np.ndarray, weight: np.ndarray) -> float:
    """Area between the uplift curve and that of a random order (Radcliffe 2007, per user)."""
    share, gain = uplift_curve(outcome, is_exposed, score, weight)
    return float(np.trapezoid(gain, share) - gain[-1] / 2)


def uplift_metrics(
    outcome: np.ndarray,
    is_exposed: np.ndarray,
    score: np.ndarray,
    weight: np.ndarray,
    user_ids: np.ndarray,
    *,
    random_state: int,
) -> dict[str, float]:
    """Return Qini and area under the uplift curve of randomised rows with 95 % intervals, bootstrapped by user.

    Args:
        outcome: 0/1, (rows,).
        is_exposed: bool, (rows,).
        score: predicted uplift by a model that has not seen the user, (rows,).
        weight: inverse chance of the row's arm, (rows,).
        user_ids: who a row belongs to, (rows,).
        random_state: seed of the bootstrap.
    """
    codes = np.unique(user_ids, return_inverse=True)[1]
    generator = np.random.default_rng(random_state)
    figures = {"qini": qini, "area_under_uplift": area_under_uplift}
    metrics = {name: figure(outcome, is_exposed, score, weight) for name, figure in figures.items()}
    draws: dict[str, list[float]] = {name: [] for name in figures}
    for _ in range(_BOOTSTRAP_RUNS):
        drawn = weight * generator.poisson(1.0, codes.max() + 1)[codes]
        for name, figure in figures.items():
            draws[name].append(figure(outcome, is_exposed, score, drawn))
    for name, values in draws.items():
        metrics[f"{name}_low"], metrics[f"{name}_high"] = (float(edge) for edge in np.quantile(values, [0.025, 0.975]))
    return metrics
