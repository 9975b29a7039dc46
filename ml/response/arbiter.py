"""Which candidate for the effect does best on later rows of other users."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from ml.response.learned_effects import CHALLENGERS
from ml.response.metrics import uplift_metrics
from ml.response.selection import Comparison, clustered_mean, time_slices, user_folds
from ml.response.shifts import MINIMUM_EACH_SIDE, Compared, inverse_link, link, variance
from ml.response.summary import FeatureSummary
from ml.response.user_effects import fit_challenger, fit_effect_slopes, predict_groups, shift_of, typed

_COMPARED_ROWS = 40_000
# Chance that a challenger takes over where all are as good as the champion.
_LEVEL = 0.05


@dataclass(frozen=True)
class Arbiter:
    """Candidates are judged on later rows of other users; randomised rows are the arbiter where there are enough."""

    compared: Compared
    summary: FeatureSummary
    matrix: np.ndarray
    thread_count: int
    random_state: int
    tastes: Sequence[int] = ()

    def compare(self, champion: str, challengers: tuple[str, ...]) -> tuple[Comparison | None, dict[str, float]]:
        """Return how the candidates did, and the uplift metrics of the one chosen."""
        examples = self.compared.examples
        slices = time_slices(examples.reference_days, later_share=0.15, last_share=0.15)
        judged = ~slices.earlier if slices.is_out_of_time else slices.later
        folds = user_folds(examples.user_ids, self.random_state, 2)
        # All candidates learn from the same part of the users: more rows would cost minutes.
        share = min(1.0, _COMPARED_ROWS / max(1, int((slices.earlier & self.compared.is_believed).sum())))
        earlier = slices.earlier & (user_folds(examples.user_ids, self.random_state + 2, 256) < max(1, 256 * share))
        names = ("none", "types", "slopes", *challengers)
        shifts = {name: np.full(len(examples), np.nan) for name in names}
        shifts["none"][:] = 0.0
        for fold in range(2):
            rows, others = earlier & (folds != fold), judged & (folds == fold)
            if rows.any() and others.any() and len(np.unique(examples.outcome[rows])) == 2:
                self._predict_others(shifts, rows, others, challengers)
        judged &= np.isfinite(shifts["slopes"])
        judged &= self.compared.is_believed
        randomised = judged & examples.is_randomised
        if (
            min((randomised & examples.is_exposed).sum(), (randomised & ~examples.is_exposed).sum())
            >= MINIMUM_EACH_SIDE
        ):
            judged = randomised
        if not judged.any():
            return None, {}
        losses = {name: _loss(self.compared, shifts["types"], shifts[name])[judged] for name in names}
        comparison = beaten_by_more_than_noise(champion, losses, examples.user_ids[judged])
        if not examples.is_randomised[judged].all():
            return comparison, {}
        alone = self.compared.expected
        change = inverse_link("chance", link("chance", alone) + shifts[comparison.chosen]) - alone
        arm = np.where(examples.is_exposed, self.compared.propensity, 1 - self.compared.propensity)
        metrics = uplift_metrics(
            examples.outcome[judged],
            examples.is_exposed[judged],
            change[judged],
            1 / arm[judged],
            examples.user_ids[judged],
            random_state=self.random_state,
        )
        return comparison, metrics

    def _predict_others(
        self, shifts: dict[str, np.ndarray], rows: np.ndarray, others: np.ndarray, challengers: tuple[str, ...]
    ) -> None:
        """Fill in what candidates that learned from `rows` say of `others`."""
        types_seen = self.compared.examples.event_types
        offset, slopes, levels = fit_effect_slopes(self.compared, self.summary, self.matrix, rows, self.tastes)
        shifts["types"][others] = predict_groups(levels, self.matrix[others][:, self.tastes], types_seen[others])[0]
        shifts["slopes"][others] = predict_groups(slopes, self.matrix[others], types_seen[others])[0]
        alone = inverse_link("chance", offset)
        for kind in challengers:
            learned = fit_challenger(
                kind,
                self.compared,
                alone,
                self.matrix,
                rows & self.compared.is_believed,
                self.thread_count,
                self.random_state,
            )
            difference = learned.predict(typed(self.matrix[others], types_seen[others]))
            shifts[kind][others] = shift_of(self.compared.expected[others], difference)


def beaten_by_more_than_noise(champion: str, losses: Mapping[str, np.ndarray], user_ids: np.ndarray) -> Comparison:
    """Keep the champion unless a challenger is better beyond noise.

    Of several challengers that are as good as the champion one is always better by chance. All together take over in at
    most one case of twenty then (Bonferroni): of eight, one must be better by 2.5 standard errors.

    Args:
        champion: name of the candidate in charge.
        losses: loss per row of each candidate, (rows,).
        user_ids: who a row belongs to; rows of a user count as one draw.
    """
    challengers = [name for name in losses if name in CHALLENGERS]
    needed = float(norm.isf(_LEVEL / max(1, len(challengers))))
    ones = np.ones(len(user_ids))
    means = {name: float(loss.mean()) for name, loss in losses.items()}
    differences, errors = {}, {}
    for name, loss in losses.items():
        differences[name], errors[name] = clustered_mean(loss - losses[champion], user_ids, ones)
    better = [name for name in challengers if differences[name] < -needed * errors[name]]
    return Comparison(min(better, key=lambda name: means[name], default=champion), means, differences, errors)


def _loss(compared: Compared, reference: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Squared distance of the outcome from its expectation under a shift, in units of its variance, (rows,).

    `reference` is the shift that fixes the expectation over both arms, the same for every candidate.
    """
    alone = compared.expected
    start = link("chance", alone)
    mean = alone + compared.propensity * (inverse_link("chance", start + reference) - alone)
    change = inverse_link("chance", start + shift) - alone
    away = compared.examples.is_exposed - compared.propensity
    return (compared.examples.outcome - mean - away * change) ** 2 / np.maximum(variance("chance", mean), 1e-3)
