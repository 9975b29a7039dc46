"""What an experiment says, in figures and in words - or that it may not be read, and why.

A readout first asks whether the users were split as intended. If not, something between assignment and the data has
lost or moved users, and no figure below can be trusted: the result is withheld.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ml.experiments.assignment import ExperimentError
from ml.experiments.comparison import Effect, chance_to_win, compare, expected_loss, sample_ratio_p_value
from ml.experiments.corrections import benjamini_hochberg, holm
from ml.experiments.sequential import compare_always_valid, compare_at_look
from ml.experiments.statistics import CovariateStatistic, Statistic, adjusted

SAMPLE_RATIO_LEVEL = 0.001


@dataclass(frozen=True)
class Design:
    """How an experiment was planned to be read; fixed before the first look.

    Attributes:
        kind: "fixed" is read once at the end, "always-valid" as often as one likes, "group-sequential" at `looks`
            equally spaced looks.
        alpha: chance of a false claim, over all arms and metrics together.
        tuning: always-valid: users at which the interval should be tightest.
        looks: group-sequential: number of looks.
        correction: "holm" keeps the chance of any false claim, "benjamini-hochberg" the share of false claims.
    """

    kind: Literal["fixed", "always-valid", "group-sequential"] = "fixed"
    alpha: float = 0.05
    tuning: float = 5000
    looks: int = 1
    correction: Literal["holm", "benjamini-hochberg"] = "holm"


@dataclass(frozen=True)
class Metric:
    """What is measured.

    Attributes:
        name: key of the statistic in the arms.
        verb: what a user did, for the sentence: "returned", "converted", "paid".
        is_share: a yes or no per user, told in points; otherwise a mean per user.
        base: of a ratio of two sums, what its denominator counts: "returner"; empty for a figure per assigned user.
    """

    name: str
    verb: str
    is_share: bool
    base: str = ""


@dataclass(frozen=True)
class Arm:
    """One arm of an experiment.

    Attributes:
        name: name of the arm.
        weight: intended share of the users, on any positive scale.
        users: users assigned.
        statistics: sufficient statistic of each metric; with a `CovariateStatistic` the effect is adjusted by CUPED.
    """

    name: str
    weight: float
    users: int
    statistics: Mapping[str, Statistic | CovariateStatistic]


@dataclass(frozen=True)
class Comparison:
    """One arm against the control on one metric.

    Attributes:
        arm, metric: what is compared.
        effect: the difference with its interval.
        p_value_adjusted: corrected for all comparisons of the readout.
        chance_to_win: chance that the arm is better, with a flat prior.
        expected_loss: what choosing the arm is expected to cost per user if it is worse.
        sentence: the comparison in words.
    """

    arm: str
    metric: str
    effect: Effect
    p_value_adjusted: float
    chance_to_win: float
    expected_loss: float
    sentence: str


@dataclass(frozen=True)
class Readout:
    """What an experiment says so far.

    Attributes:
        control: name of the arm the others are compared with.
        sample_ratio_p_value: chance of a split at least this far from the intended one.
        comparisons: every other arm on every metric; empty when withheld.
        is_withheld: the split is not the intended one, nothing may be read.
        decision: what to do, in words.
    """

    control: str
    sample_ratio_p_value: float
    comparisons: tuple[Comparison, ...]
    is_withheld: bool
    decision: str


def read_experiment(
    arms: tuple[Arm, ...], metrics: tuple[Metric, ...], *, control: str, design: Design | None = None, look: int = 1
) -> Readout:
    """Compare every arm with the control on every metric.

    Args:
        arms: the arms with their statistics.
        metrics: what is compared; the first one decides.
        control: name of the arm the others are compared with.
        design: how it was planned to be read.
        look: group-sequential: which look this is, from 1.

    Raises:
        ExperimentError: there is no such control, or no other arm.
    """
    plan = design or Design()
    by_name = {arm.name: arm for arm in arms}
    if control not in by_name or len(by_name) < 2:
        raise ExperimentError(f"An experiment is read against a control: there is no arm {control} beside others.")
    counts, weights = {arm.name: arm.users for arm in arms}, {arm.name: arm.weight for arm in arms}
    ratio = sample_ratio_p_value(counts, weights)
    if ratio < SAMPLE_RATIO_LEVEL:
        split = ", ".join(f"{counts[name]} {name}" for name in counts)
        sentence = (
            f"Withheld: {split} is not the intended split (p = {ratio:.2g}); find out where users got lost or moved "
            "before any figure is believed."
        )
        return Readout(control, ratio, (), True, sentence)
    pairs = [(arm, metric) for metric in metrics for arm in arms if arm.name != control]
    statistics = [
        adjusted(by_name[control].statistics[metric.name], arm.statistics[metric.name]) for arm, metric in pairs
    ]
    effects = [_effect(before, after, plan, look) for before, after in statistics]
    adjust = holm if plan.correction == "holm" else benjamini_hochberg
    p_values = adjust(np.array([effect.p_value for effect in effects]))
    comparisons = tuple(
        Comparison(
            arm=arm.name,
            metric=metric.name,
            effect=effect,
            p_value_adjusted=float(p_value),
            chance_to_win=chance_to_win(before, after, scale="absolute"),
            expected_loss=expected_loss(before, after),
            sentence=_sentence(arm.name, control, metric, effect),
        )
        for (arm, metric), (before, after), effect, p_value in zip(pairs, statistics, effects, p_values, strict=True)
    )
    return Readout(control, ratio, comparisons, False, _decision(comparisons, metrics[0], plan, look))


def _effect(before: Statistic, after: Statistic, design: Design, look: int) -> Effect:
    """The effect by the method of the design."""
    if design.kind == "always-valid":
        return compare_always_valid(before, after, alpha=design.alpha, tuning=design.tuning)
    if design.kind == "group-sequential":
        return compare_at_look(before, after, look=look, looks=design.looks, alpha=design.alpha)
    return compare(before, after, alpha=design.alpha)


def _sentence(arm: str, control: str, metric: Metric, effect: Effect) -> str:
    """The comparison as a person says it."""
    direction = "more" if effect.value >= 0 else "less"
    who, than = f"The {arm} arm", control
    if metric.base:
        who, than = f"{who}'s {metric.base}s", f"those of {control}"
    if metric.is_share:
        size, unit = abs(effect.value) * 100, "points"
        low, high = effect.low * 100, effect.high * 100
        text = f"{who} {metric.verb} {size:.1f} {unit} {direction} than {than}"
        return f"{text}, between {low:+.1f} and {high:+.1f}."
    text = f"{who} {metric.verb} {abs(effect.value):.2f} {'each' if metric.base else 'a user'} {direction} than {than}"
    return f"{text}, between {effect.low:+.2f} and {effect.high:+.2f}."


def _decision(comparisons: tuple[Comparison, ...], first: Metric, design: Design, look: int) -> str:
    """What to do: stop for harm, choose the best arm that is proven, or go on."""
    deciding = [each for each in comparisons if each.metric == first.name]
    harmful = [each for each in deciding if each.effect.high < 0 and each.p_value_adjusted < design.alpha]
    proven = [each for each in deciding if each.effect.low > 0 and each.p_value_adjusted < design.alpha]
    said = " ".join(each.sentence for each in deciding)
    if harmful:
        return f"{said} Stop for harm: {', '.join(each.arm for each in harmful)}."
    if proven:
        best = max(proven, key=lambda each: each.effect.value)
        return f"{said} Stop: {best.arm} is better."
    if design.kind == "fixed" or (design.kind == "group-sequential" and look >= design.looks):
        return f"{said} It ends without a proven difference: keep what costs less."
    return f"{said} Go on: nothing is proven yet."
