"""What an event changes for a user: slopes shared by all types in part, and challengers that must beat them.

The main candidate is a logistic model (`slopes.py`): the effect of an event on the log odds is
an intercept and slopes along few columns that sum up the features, in part common to all types and in part a type's
own, each shrunk by how much the data say such slopes spread. The row's chance without the event comes from the
baseline; an error in it does not turn into an effect, because exposure is centred at its chance. Randomised rows count
for what they are. Rows of the same types that marketing picked have a bias of their own beside, learned along the same
columns (Kallus, Puli and Shalit 2018): they say who is moved more, as far as they agree with chance.

Means by type without slopes are taken where slopes do not explain more, and "none" is kept unless the evidence of the
randomised rows for effects outweighs it clearly. Then the posterior mean is used as it is: shrunk means are better in
expectation than zero, however uncertain. S-, T-, X- and DR-learners take over only where later rows of other users show
them to be better beyond noise. docs/methods/response.md has the reasons.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from ml.response.affinity import AFFINITY, AffinityModel
from ml.response.arbiter import Arbiter
from ml.response.channels import NO_FACTORS, ChannelFactors, fit_channel_factors
from ml.response.examples import Examples
from ml.response.learned_effects import CHALLENGERS
from ml.response.learners import Kind
from ml.response.selection import Comparison
from ml.response.shifts import (
    Compared,
    TypeEffect,
    are_effects_shown,
    comparable_rows,
    count_sides,
    doubted_rows,
    event_types,
    inverse_link,
    propensities,
    type_effects,
    unknown_error,
)
from ml.response.summary import BENDS, FeatureSummary
from ml.response.user_effects import (
    EVENT_TYPE,
    UserEffects,
    fit_challenger,
    fit_effect_slopes,
    predict_groups,
    shift_of,
    typed,
    with_type,
)

# Inactive users needed on both sides before users may differ in their effect, and before boosted learners try.
MINIMUM_FOR_SLOPES = 300
MINIMUM_FOR_CHALLENGERS = 3000
# Log evidence by which effects must outweigh "none": with treatment shuffled fewer than 5 % of data sets exceed it
# (measured in tests/ml/response/test_shuffled_treatment.py).
EVIDENCE_NEEDED = 3.5
# And by which differences between users must outweigh one mean a type.
EVIDENCE_FOR_SLOPES = 1.0
# Feature with the money a user is expected to bring once back: effects may vary with it on their own terms.
WORTH = "expected_money_if_back"
# Spread of the effects between users that no feature shows, over the spread that features do show: features are taken
# to show a third of the variance, as on worlds whose truth is known: docs/methods/response.md.
UNEXPLAINED_OVER_SHOWN = 2**0.5
_LARGEST_SHIFT = 3.0


@dataclass(frozen=True)
class Shift:
    """Shift of each row on the link scale, (rows,), and the evidence of the event type.

    `error_of` gives the standard errors of some rows, by position: they cost more than the shift, so that who needs
    few asks for few.
    """

    shift: np.ndarray
    error_of: Callable[[np.ndarray], np.ndarray]
    evidence: str


@dataclass(frozen=True)
class UpliftModel:
    """The chosen model of the effect.

    Attributes:
        chosen: "none", "types", "slopes" or the name of a challenger.
        pooled: mean effect over all types; for types never seen its error holds the spread between types.
        types: mean effect by event type.
        users: how users differ; None where only means are known.
        comparison: how the candidates did; None where there was too little to compare.
        metrics: Qini and area under the uplift curve on later randomised rows of other users, where there are any.
        channels: how much of the effect arrives over each channel.
    """

    chosen: str
    pooled: TypeEffect
    types: Mapping[str, TypeEffect]
    users: UserEffects | None
    comparison: Comparison | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    channels: ChannelFactors = NO_FACTORS

    @property
    def uses_features(self) -> bool:
        """Whether predictions look at features at all."""
        return self.users is not None

    @property
    def feature_names(self) -> frozenset[str]:
        """Names of the features that predictions look at, of users and towards types, found or worked out."""
        return frozenset() if self.users is None else frozenset(self.users.summary.encoder_.names_)

    def predict(
        self,
        features: pd.DataFrame,
        event_features: pd.DataFrame,
        event_type: str,
        expected: np.ndarray,
        channels: np.ndarray | None = None,
    ) -> Shift:
        """Return the shift that an event of this type makes for each user.

        `expected` is the outcome without it. `channels` are those of the invitations, text, (rows,); left out, it is
        the mix of channels of the past.
        """
        shift = self._predict(features, event_features, event_type, expected)
        if channels is None or not self.channels.factors:
            return shift
        factor, error = self.channels.of(channels)

        def error_of(rows: np.ndarray) -> np.ndarray:
            # An error of the factor and one of the shift are independent enough to add their squares.
            return np.hypot(factor[rows] * shift.error_of(rows), error[rows] * shift.shift[rows])

        return Shift(factor * shift.shift, error_of, shift.evidence)

    def _predict(
        self,
        features: pd.DataFrame,
        event_features: pd.DataFrame,
        event_type: str,
        expected: np.ndarray,
    ) -> Shift:
        rows = len(features)
        mean = self.types.get(event_type, self.pooled)
        evidence = mean.evidence if event_type in self.types else "insufficient"
        if self.users is None:
            return Shift(
                np.full(rows, 0.0 if self.chosen == "none" else mean.effect),
                lambda some: np.full(len(some), mean.standard_error),
                evidence,
            )
        users = self.users
        columns = users.summary.to_columns_of(features, event_features)

        def error_of(some: np.ndarray) -> np.ndarray:
            error = np.hypot(users.slopes.predict_error(columns.take(some), event_type), users.unexplained)
            return np.maximum(error, mean.standard_error) if evidence == "insufficient" else error

        if self.chosen == "none":
            shift = np.zeros(rows)
        elif self.chosen == "types":
            shift = users.levels.predict_mean(users.level_columns(columns), event_type)
        elif users.challenger is not None:
            shift = shift_of(expected, users.challenger.predict(typed(columns.matrix(), np.full(rows, event_type))))
        else:
            shift = users.slopes.predict_mean(columns, event_type)
        return Shift(np.clip(shift, -_LARGEST_SHIFT, _LARGEST_SHIFT), error_of, evidence)

    def weighed(
        self,
        features: pd.DataFrame,
        event_features: pd.DataFrame,
        event_type: str,
        weights: np.ndarray,
        channels: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return what the slopes of a type are multiplied by in the sum of weights (rows,) times shifts, (slopes,).

        Arguments are as in `predict`. Sums of parts of the users add up.
        """
        if channels is not None and self.channels.factors:
            weights = weights * self.channels.of(channels)[0]
        if self.users is None:
            return np.array([weights.sum()])
        columns = self.users.summary.to_columns_of(features, event_features).matrix()
        return np.concatenate([[weights.sum()], weights @ columns])

    def error_of_sums(self, sums: Mapping[str, np.ndarray]) -> float:
        """Return the standard error of a sum of shifts, for each type what `weighed` says; 0 where there are none.

        What no feature shows differs from user to user, and is next to nothing in a sum over many.
        """
        if self.chosen == "none":
            return 0.0
        if self.users is not None:
            return self.users.slopes.error_of_sums(sums)
        errors = [weights[0] * self.types.get(name, self.pooled).standard_error for name, weights in sums.items()]
        return float(np.linalg.norm(errors))

    def called(self, evidence: str) -> "UpliftModel":
        """Return the model with everything measured called `evidence`."""

        def relabelled(effect: TypeEffect) -> TypeEffect:
            return effect if effect.evidence == "insufficient" else replace(effect, evidence=evidence)

        types = {name: relabelled(effect) for name, effect in self.types.items()}
        return replace(self, pooled=relabelled(self.pooled), types=types)

    def to_state(self) -> dict[str, Any]:
        """Return everything learned as arrays, JSON values and model bytes."""
        return {
            "chosen": self.chosen,
            "pooled": vars(self.pooled),
            "types": [{"event_type": name, **vars(effect)} for name, effect in self.types.items()],
            "users": None if self.users is None else self.users.to_state(),
            "channels": self.channels.to_state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "UpliftModel":
        """Rebuild the predicting parts from `to_state`."""
        types = {
            part["event_type"]: TypeEffect(**{name: value for name, value in part.items() if name != "event_type"})
            for part in state["types"]
        }
        users = None if state["users"] is None else UserEffects.from_state(state["users"])
        # Versions of before channels were told apart have none.
        channels = ChannelFactors.from_state(state["channels"]) if "channels" in state else NO_FACTORS
        return cls(state["chosen"], TypeEffect(**state["pooled"]), types, users, comparison=None, channels=channels)


def fit_uplift(
    kind: Kind,
    examples: Examples,
    expected: np.ndarray,
    affinity: AffinityModel | None = None,
    *,
    randomised_first: bool = True,
    evidence_needed: float = EVIDENCE_NEEDED,
    thread_count: int = 1,
    random_state: int = 0,
) -> UpliftModel:
    """Learn what events change.

    Args:
        kind: kind of the outcome ("chance" or "amount").
        examples: moments of inactive users; those without an event, or of types with too few, are left out.
        expected: outcome expected of each row if left alone, by a model that has not seen its user, (rows,).
        affinity: adds one feature to those towards the type of the event.
        randomised_first: leave out what chance did not decide wherever the rest suffices.
        evidence_needed: log evidence by which effects must outweigh "none"; by their means alone if not
            `randomised_first`.
        thread_count: threads of the boosted learners.
        random_state: seed.
    """
    keep, evidence = comparable_rows(examples, randomised_first=randomised_first)
    unknown = unknown_error(kind, examples.outcome)
    if not evidence:
        nothing = TypeEffect(0.0, unknown, "insufficient", 0, 0)
        types = {
            name: TypeEffect(0.0, unknown, "insufficient", *count_sides(examples, name))
            for name in event_types(examples)
        }
        return UpliftModel("none", nothing, types, None, None)
    doubted = doubted_rows(examples, evidence) if kind == "chance" else np.zeros(len(examples), dtype=bool)
    usable = examples.take(keep | doubted)
    if affinity is not None and kind == "chance":
        usable = affinity.add_to_examples(usable)
    frame = with_type(usable.features, usable.event_features, usable.event_types)
    propensity = propensities(usable, frame, random_state=random_state)
    is_doubted = doubted[keep | doubted]
    compared = Compared(usable, expected[keep | doubted], propensity, np.ones(len(usable)), is_doubted)
    believed = compared.is_believed
    pooled, types = type_effects(kind, compared, believed, evidence, unknown)
    for name in event_types(examples):
        if name not in types:
            types[name] = TypeEffect(pooled.effect, unknown, "insufficient", *count_sides(examples, name))
    sides = min(int((believed & usable.is_exposed).sum()), int((believed & ~usable.is_exposed).sum()))
    # Money after a return is too noisy to tell whose payments an event moves more.
    if kind != "chance":
        chosen = "types" if are_effects_shown(kind, compared, evidence) else "none"
        return UpliftModel(chosen, pooled, types, None, None)
    summary = FeatureSummary((AFFINITY, WORTH), BENDS)
    columns = frame if sides >= MINIMUM_FOR_SLOPES else frame[[EVENT_TYPE]]
    matrix = summary.fit(columns[believed], (EVENT_TYPE,)).to_matrix(columns)
    offset, slopes, levels = fit_effect_slopes(compared, summary, matrix, believed)
    # Where chance did not decide who is compared, slopes alone may be what picked them: a mean must be shown.
    shown = max(slopes.evidence, levels.evidence) if randomised_first else levels.evidence
    is_none = shown < evidence_needed
    if not is_none and is_doubted.any():
        offset, slopes, levels = fit_effect_slopes(compared, summary, matrix, np.ones(len(usable), dtype=bool))
    champion = "slopes" if slopes.evidence > levels.evidence + EVIDENCE_FOR_SLOPES else "types"
    # Whether those who take to an event are moved more is learned after a return, however little the rows speak for it:
    # too few pay to show it, and a plan that takes all for alike goes to those who are not moved.
    tastes = () if randomised_first else summary.positions_of((AFFINITY,))
    if not is_none and tastes:
        _, _, levels = fit_effect_slopes(compared, summary, matrix, believed, tastes)
    shift, _ = predict_groups(slopes, matrix, usable.event_types)
    unexplained = round(UNEXPLAINED_OVER_SHOWN * float(shift[believed].std()), 9)
    users = UserEffects(summary, slopes, levels, unexplained, None)
    if is_none:
        return UpliftModel("none", pooled, types, users, None)
    judged = Arbiter(compared, summary, matrix, thread_count, random_state, tastes)
    randomised = usable.is_exposed[usable.is_randomised]
    is_enough = min(randomised.sum(), (~randomised).sum()) >= MINIMUM_FOR_CHALLENGERS
    challengers = CHALLENGERS if is_enough else ()
    comparison, metrics = judged.compare(champion, challengers)
    if comparison is not None and comparison.chosen in challengers:
        rows = inverse_link("chance", offset)
        challenger = fit_challenger(comparison.chosen, compared, rows, matrix, believed, thread_count, random_state)
        users = replace(users, challenger=challenger)
    # The slopes are the best description of who is moved how far, whoever predicts in the end.
    shifts = shift if champion == "slopes" else predict_groups(levels, matrix[:, tastes], usable.event_types)[0]
    contrast = usable.is_exposed - propensity
    channels = fit_channel_factors(
        *(part[believed] for part in (usable.channels, shifts, contrast, offset, usable.outcome))
    )
    chosen = comparison.chosen if comparison else champion
    return UpliftModel(chosen, pooled, types, users, comparison, metrics, channels)
