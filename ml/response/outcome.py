"""Chance or amount with and without an event: the baseline, what the event adds, and how good both are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from ml.response.affinity import AffinityModel
from ml.response.baseline import Baseline, predict_unseen, select_baseline
from ml.response.calibration import Calibrator
from ml.response.examples import Examples
from ml.response.learners import Kind, Learner, bounded
from ml.response.metrics import amount_metrics, chance_metrics
from ml.response.shifts import TypeEffect, control_level, inverse_link, link, unknown_error
from ml.response.uplift import EVIDENCE_NEEDED, UpliftModel, fit_uplift

_TWO_SIDED_95 = 1.959964
_LARGEST_WEIGHT = 20.0
WINSORISED_QUANTILE = 0.99


@dataclass(frozen=True)
class OutcomePrediction:
    """Expected outcome of each user with and without an event, float64 of shape (rows,).

    Evidence is "randomised", "adjusted" or "insufficient". `interval_of` gives both ends of the 95 % interval of the
    uplift for some rows, by position: it costs more than the rest, so that who needs few asks for few.
    """

    with_event: np.ndarray
    without_event: np.ndarray
    evidence: str
    interval_of: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

    @property
    def uplift(self) -> np.ndarray:
        """What the event adds, (rows,)."""
        return self.with_event - self.without_event

    @property
    def uplift_low(self) -> np.ndarray:
        """Lower end of its interval for all rows."""
        return self.interval_of(np.arange(len(self.with_event)))[0]

    @property
    def uplift_high(self) -> np.ndarray:
        """Upper end of its interval for all rows."""
        return self.interval_of(np.arange(len(self.with_event)))[1]


class OutcomeModel:
    """Base of the three models of this room: an outcome left alone, and what events of each type change.

    Args:
        thread_count: threads of the boosted learners; the result is the same on every run with the same number.
        random_state: seed of everything drawn.
        tuning_trials: settings of gradient boosting to try before the candidates are compared; 0 = as they are.
        tuning_seconds: time after which no more of them are tried; 0 = no limit.
        affinity: which users take to which type of event, as active users' answers show; None where nobody asked.
        learner: says what happens without an event, in place of the best of the candidates; what events change is then
            one mean a type, whatever the features.
    """

    kind: ClassVar[Kind]
    what: ClassVar[str]
    # Said of everybody where not one example exists.
    guess: ClassVar[float] = 0.05
    # With no effect of events on the outcome, exposed rows teach the baseline as well as the others.
    uses_exposed_rows_without_effect: ClassVar[bool] = True
    # What chance did not decide is left out wherever the rest suffices to compare.
    compares_randomised_first: ClassVar[bool] = True
    evidence_needed: ClassVar[float] = EVIDENCE_NEEDED

    def __init__(
        self,
        *,
        thread_count: int = 1,
        random_state: int = 0,
        tuning_trials: int = 0,
        tuning_seconds: int = 0,
        affinity: AffinityModel | None = None,
        learner: Learner | None = None,
    ) -> None:
        self.thread_count = thread_count
        self.random_state = random_state
        self.tuning_trials = tuning_trials
        self.tuning_seconds = tuning_seconds
        self.affinity = affinity
        self.learner = learner

    def fit(self, examples: Examples) -> Self:
        """Learn from past moments (sorted by a key, so that the same data gives the same model).

        Without a single example the model gives everybody the same stated guess, and `messages_` says so.
        """
        if len(examples) == 0:
            return self._guess()
        examples = self._prepare(examples)
        seeds = {"thread_count": self.thread_count, "random_state": self.random_state}
        search: dict[str, Any] = {
            **seeds,
            "tuning_trials": self.tuning_trials,
            "tuning_seconds": self.tuning_seconds,
            "learner": self.learner,
        }
        every = np.ones(len(examples), dtype=bool)
        rows = ~examples.is_exposed if not examples.is_exposed.all() else every
        alone = examples.take(rows)
        self.baseline_ = select_baseline(self.kind, alone, assignment_weights(alone), **search)
        expected = predict_unseen(self.kind, self.baseline_, alone, assignment_weights(alone), examples, **seeds)
        self.level_ = control_level(self.kind, examples, expected)
        expected = self._shifted(expected)
        self.uplift_ = fit_uplift(
            self.kind,
            examples if self.learner is None else examples.without_features(),
            expected,
            self.affinity,
            randomised_first=self.compares_randomised_first,
            evidence_needed=self.evidence_needed,
            **seeds,
        )
        if self.uses_exposed_rows_without_effect and self.uplift_.chosen == "none" and not rows.all():
            self.baseline_ = select_baseline(self.kind, examples, assignment_weights(examples), **search)
        self.metrics_ = self._measure(examples)
        self.messages_ = self._messages(examples)
        return self

    def predict_baseline(self, features: pd.DataFrame) -> np.ndarray:
        """Return the expected outcome of users who are left alone, float64 of shape (rows,)."""
        return self._shifted(self.baseline_.predict(features))

    def predict_unseen(self, taught: Examples, examples: Examples) -> np.ndarray:
        """Return what would be expected of the users of some examples if nothing were known of their own outcomes.

        Args:
            taught: what the model was, or would now be, taught with.
            examples: whose baseline is asked for; their users are left out of `taught` in turn.

        Returns:
            float64 of shape (examples,).
        """
        if not len(taught):
            return self.predict_baseline(examples.features)
        prepared = self._prepare(taught)
        alone = prepared if prepared.is_exposed.all() else prepared.take(~prepared.is_exposed)
        seeds = {"thread_count": self.thread_count, "random_state": self.random_state}
        weights = assignment_weights(alone)
        return self._shifted(predict_unseen(self.kind, self.baseline_, alone, weights, examples, **seeds))

    def predict(
        self,
        features: pd.DataFrame,
        event_features: pd.DataFrame,
        event_type: str,
        without_event: np.ndarray | None = None,
        channels: np.ndarray | None = None,
    ) -> OutcomePrediction:
        """Return the expected outcome with and without an event of a type.

        Args:
            features: user features, (rows, features).
            event_features: features of the same users towards this type.
            event_type: the type; one never seen in training gets the pooled effect.
            without_event: `predict_baseline(features)`, if it is known already.
            channels: over which each user would be invited, text, (rows,); None for the mix of channels of the past.
        """
        without = self.predict_baseline(features) if without_event is None else without_event
        towards = self._towards(features, event_features, event_type)
        change = self.uplift_.predict(features, towards, event_type, without, channels)
        start = link(self.kind, without)

        def moved(start: np.ndarray, shift: np.ndarray) -> np.ndarray:
            return bounded(self.kind, inverse_link(self.kind, start + shift))

        def interval_of(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            shift, half_width = change.shift[rows], _TWO_SIDED_95 * change.error_of(rows)
            low, high = (moved(start[rows], shift + away) - without[rows] for away in (-half_width, half_width))
            return low, high

        # Without a shift the chance is taken as it is: there and back over the link would lose its last digits.
        with_event = np.where(change.shift == 0, without, moved(start, change.shift))
        return OutcomePrediction(with_event, without, change.evidence, interval_of)

    def weighed(
        self,
        features: pd.DataFrame,
        event_features: pd.DataFrame,
        event_type: str,
        weights: np.ndarray,
        channels: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return what `UpliftModel.weighed` says of these users; arguments are as in `predict`."""
        towards = self._towards(features, event_features, event_type)
        return self.uplift_.weighed(features, towards, event_type, weights, channels)

    @property
    def feature_names(self) -> frozenset[str]:
        """Names of the features that predictions look at, of users and towards types, found or worked out."""
        names = self.baseline_.learner.feature_names | self.uplift_.feature_names
        if self.affinity is None or not self.uplift_.uses_features:
            return names
        return names | self.affinity.feature_names

    def predict_examples(self, examples: Examples) -> np.ndarray:
        """Return the expected outcome of each example given whether it was exposed, float64 of shape (rows,)."""
        expected = self.predict_baseline(examples.features)
        for event_type in sorted({str(name) for name in examples.event_types[examples.is_exposed]}):
            rows = examples.is_exposed & (examples.event_types == event_type)
            part = examples.take(rows)
            expected[rows] = self.predict(
                part.features, part.event_features, event_type, expected[rows], part.channels
            ).with_event
        return expected

    def to_state(self) -> dict[str, Any]:
        """Return what prediction needs as arrays, JSON values and model bytes."""
        return {
            "baseline": self.baseline_.to_state(),
            "level": self.level_,
            "uplift": self.uplift_.to_state(),
            "affinity": None if self.affinity is None else self.affinity.to_state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild the predicting parts from `to_state`."""
        affinity = state["affinity"]
        model = cls(affinity=None if affinity is None else AffinityModel.from_state(affinity))
        model.baseline_ = Baseline.from_state(state["baseline"])
        model.level_ = float(state["level"])
        model.uplift_ = UpliftModel.from_state(state["uplift"])
        return model

    def _towards(self, features: pd.DataFrame, event_features: pd.DataFrame, event_type: str) -> pd.DataFrame:
        """Features towards a type, with the affinity to it where effects look at features."""
        if self.affinity is None or not self.uplift_.uses_features:
            return event_features
        return self.affinity.add_to(features, event_features, event_type)

    def _prepare(self, examples: Examples) -> Examples:
        return examples

    def _shifted(self, expected: np.ndarray) -> np.ndarray:
        if self.level_ == 0:
            return expected
        return bounded(self.kind, inverse_link(self.kind, link(self.kind, expected) + self.level_))

    def _guess(self) -> Self:
        learner, calibrator = Learner(self.kind), Calibrator(self.kind)
        learner.constant_ = self.guess
        nothing = np.zeros(0)
        calibrator.fit(nothing, nothing, nothing, nothing)
        self.baseline_ = Baseline(learner, calibrator, None, False, pd.DataFrame())
        unknown = TypeEffect(0.0, unknown_error(self.kind, nothing), "insufficient", 0, 0)
        self.level_ = 0.0
        self.uplift_ = UpliftModel("none", unknown, {}, None, None)
        self.metrics_ = {"examples": 0.0}
        self.messages_ = (f"The {self.what} is a guess ({self.guess:g}): there is no past example to learn it from.",)
        return self

    def _measure(self, examples: Examples) -> dict[str, float]:
        report = self.baseline_.report
        measure = chance_metrics if self.kind == "chance" else amount_metrics
        metrics = measure(report["outcome"].to_numpy(), report["prediction"].to_numpy(), report["weight"].to_numpy())
        compared = {} if self.uplift_.comparison is None else self.uplift_.comparison.metrics()
        return {
            "examples": float(len(examples)),
            "exposed_examples": float(examples.is_exposed.sum()),
            "randomised_examples": float(examples.is_randomised.sum()),
            **metrics,
            **({} if self.baseline_.comparison is None else self.baseline_.comparison.metrics()),
            **{f"uplift_{name}": figure for name, figure in compared.items()},
            **{f"uplift_{name}": figure for name, figure in self.uplift_.metrics.items()},
        }

    def _messages(self, examples: Examples) -> tuple[str, ...]:
        messages = []
        baseline = self.baseline_
        if baseline.comparison is None and self.learner is None:
            messages.append(
                f"The {self.what} is one figure for everybody: "
                f"{len(examples)} examples are too few to tell users apart."
            )
        elif not baseline.is_out_of_time:
            messages.append(f"The {self.what} was tested on other users only, because all examples are of one day.")
        if 0 < baseline.trials < self.tuning_trials:
            messages.append(
                f"The time for the settings of the {self.what} ended after {baseline.trials} of {self.tuning_trials} "
                "trials: another run may find others."
            )
        measured = [name for name, effect in self.uplift_.types.items() if effect.evidence != "insufficient"]
        if not measured:
            messages.append(
                f"What events change in the {self.what} is unknown and taken as 0: "
                "too few inactive users were exposed in the past."
            )
        return tuple(messages)


class ReturnModel(OutcomeModel):
    """Chance that an inactive user returns, with and without an event. Examples: every past moment."""

    kind = "chance"
    what = "chance to return"
    # Whom marketing picked differs from whom it did not: here the difference is the question, so they stay apart.
    uses_exposed_rows_without_effect = False


class ConversionModel(OutcomeModel):
    """Chance that a user who returned pays within the conversion window. Examples: moments with a return.

    Among those who returned, invited and not invited are no longer alike by chance alone, even in a test: an event that
    brings back others than return by themselves changes who is seen paying. So rows of tests are no arbiter here, and
    few of them end in a payment: all rows with an event are compared, held against what was expected of each user and
    weighted by the chance to be invited. The evidence is called adjusted.
    """

    kind = "chance"
    what = "chance to pay after a return"
    compares_randomised_first = False
    # With no effect planted 6 % of data sets exceed it (tests/ml/response/test_conversion_effects.py): payments are
    # few, and what is missed here is money that nobody sees.
    evidence_needed = 2.5

    def fit(self, examples: Examples) -> Self:
        """Learn from past moments with a return; see the base class."""
        super().fit(examples)
        self.uplift_ = self.uplift_.called("adjusted")
        if self.uplift_.chosen == "none":
            # Its intervals are shown nowhere, and without them there is nothing to look at features for.
            self.uplift_ = replace(self.uplift_, users=None)
        return self


class RevenueModel(OutcomeModel):
    """Expected payments within the value horizon of a user who returned and pays. Examples: moments with a payment.

    Amounts above the 99th percentile are set to it in training, so that one huge payment does not own the model.
    """

    kind = "amount"
    what = "revenue after a return"
    guess = 0.0

    def _prepare(self, examples: Examples) -> Examples:
        """Cut the largest amounts and forget the assignment: who pays after a return is no random part of anybody."""
        limit = float(np.quantile(examples.outcome, WINSORISED_QUANTILE))
        return replace(
            examples,
            outcome=np.clip(examples.outcome, 0.0, limit),
            assignment_probability=np.full(len(examples), np.nan),
        )


def assignment_weights(examples: Examples) -> np.ndarray:
    """Weight randomised rows by the inverse chance of what happened to them (at most 20), all others by 1."""
    probability = examples.assignment_probability
    happened = np.where(examples.is_exposed, probability, 1.0 - probability)
    return np.where(examples.is_randomised, np.minimum(1.0 / np.maximum(happened, 1e-9), _LARGEST_WEIGHT), 1.0)
