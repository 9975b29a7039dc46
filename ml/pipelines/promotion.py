"""Whether a challenger takes over: only if it beats the champion on later moments that neither has seen.

It must predict better or, where chance decided who was invited, choose better, and be worse at neither.
"""

from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from ml.pipelines.model import ScoringModel
from ml.response import Examples, ReturnModel
from ml.response.policy import PolicyValue, doubly_robust_rows, policy_value
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
        policy_gain: returns a row that the challenger's choice of half of the randomised rows adds to the champion's;
            None where too few were randomised.
    """

    promote: bool
    sentence: str
    difference: float = float("nan")
    standard_error: float = float("nan")
    policy_gain: float | None = None


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

    Compared are the log loss of all outcomes and, where enough was randomised, the returns that the choice brings.

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
    gain = _policy_gain(((recipe, challenger), (champion.returns, champion)), later)
    predicts_better, predicts_worse = _beyond_noise(-difference, error)
    chooses_better, chooses_worse = (False, False) if gain is None else _beyond_noise(gain.value, gain.standard_error)
    promote = (predicts_better and not chooses_worse) or (chooses_better and not predicts_worse)
    verb = "takes over" if promote else "does not take over"
    found = "better than" if predicts_better else "worse than" if predicts_worse else "as well as"
    sentence = (
        f"The challenger {verb}: it predicts {int(judged.sum())} later outcomes {found} the champion beyond noise "
        f"(log loss {difference:+.5f}, standard error {error:.5f})"
    )
    if gain is not None:
        sentence += (
            f"; inviting the half it would choose brings {100 * gain.value:+.2f} points of returns, standard error "
            f"{100 * gain.standard_error:.2f}"
        )
    return Verdict(promote, f"{sentence}.", difference, error, None if gain is None else gain.value)


def _beyond_noise(gain: float, error: float) -> tuple[bool, bool]:
    """Whether a gain is above and below 0 by more than noise."""
    return gain - _TWO_SIDED_95 * error > 0, gain + _TWO_SIDED_95 * error < 0


def _policy_gain(
    rivals: tuple[tuple[ReturnModel, ScoringModel], tuple[ReturnModel, ScoringModel]], later: Examples
) -> PolicyValue | None:
    """Returns that the first model's choice of half of the rows brings over the second's; None without enough chance.

    Only moments at which chance decided who was invited are looked at, and both choose as many.
    """
    chance = later.take(later.is_randomised)
    if min(chance.is_exposed.sum(), (~chance.is_exposed).sum()) < _MINIMUM_ROWS:
        return None
    values = []
    for returns, owner in rivals:
        seen = replace(chance, features=owner.with_worth(chance.features))
        exposed, alone = (
            returns.predict_examples(replace(seen, is_exposed=np.full(len(seen), invited))) for invited in (True, False)
        )
        invites = np.zeros(len(seen), dtype=bool)
        invites[np.argsort(alone - exposed, kind="stable")[: len(seen) // 2]] = True
        values.append(
            doubly_robust_rows(
                chance.outcome, chance.is_exposed, chance.assignment_probability, invites, exposed, alone
            )
        )
    return policy_value(values[0] - values[1], chance.user_ids)
