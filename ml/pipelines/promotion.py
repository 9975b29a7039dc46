"""Whether a challenger takes over: only if it beats the champion on later moments that neither has seen."""

from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from ml.pipelines.model import ScoringModel
from ml.response import Examples, ReturnModel
from ml.response.selection import clustered_mean, row_losses, time_slices

__all__ = ["Verdict", "judge_challenger"]

_TWO_SIDED_95 = 1.959964
_MINIMUM_ROWS = 200


@dataclass(frozen=True)
class Verdict:
    """Outcome of the comparison.

    Attributes:
        promote: whether the challenger takes over.
        sentence: why, for the report.
        difference: mean log loss of the challenger minus that of the champion (below 0 = better); NaN if not compared.
        standard_error: its standard error, users as clusters.
    """

    promote: bool
    sentence: str
    difference: float = float("nan")
    standard_error: float = float("nan")


def judge_challenger(
    challenger: ScoringModel,
    champion: ScoringModel,
    champion_date: date,
    examples: Examples,
    *,
    thread_count: int,
    random_state: int,
) -> Verdict:
    """Fit the challenger's recipe without the last moments and compare it there with the champion.

    Only moments from the champion's own date on count: what the champion was trained on would flatter it.
    """
    slices = time_slices(examples.reference_days)
    unseen = examples.reference_days >= np.datetime64(champion_date, "D").astype(np.int64)
    judged = slices.last & unseen
    earlier = ~slices.last if slices.is_out_of_time else np.zeros(len(examples), dtype=bool)
    if judged.sum() < _MINIMUM_ROWS or not earlier.any():
        return Verdict(
            False,
            f"The champion stays: only {int(judged.sum())} outcomes are newer than it and can judge a challenger "
            f"({_MINIMUM_ROWS} are needed).",
        )
    valued = replace(examples, features=challenger.with_worth(examples.features))
    recipe = ReturnModel(
        thread_count=thread_count, random_state=random_state, affinity=challenger.returns.affinity
    ).fit(valued.take(earlier))
    later = examples.take(judged)
    losses = []
    for returns, owner in ((recipe, challenger), (champion.returns, champion)):
        seen = replace(later, features=owner.with_worth(later.features))
        losses.append(row_losses("chance", later.outcome, returns.predict_examples(seen)))
    difference, error = clustered_mean(losses[0] - losses[1], later.user_ids, np.ones(len(later)))
    promote = difference + _TWO_SIDED_95 * error < 0
    verb = "takes over: it predicts" if promote else "does not take over: it does not predict"
    sentence = (
        f"The challenger {verb} {int(judged.sum())} later outcomes better than the champion beyond noise "
        f"(log loss {difference:+.5f}, standard error {error:.5f})."
    )
    return Verdict(promote, sentence, difference, error)
