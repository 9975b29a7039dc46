"""A campaign read as a whole: each way of choosing against its own controls, and the ways against each other.

Users of an arm are compared with controls that were chosen in the same way and held back at random, because who is
chosen by a model would have done differently anyway. The lift of one way of choosing may then be compared with that of
another: both are differences of randomised groups. Where the chance of being held back changed, the strata are compared
by themselves and joined by their sizes.

Ratios (revenue per returner) are told beside the figures per assigned user and decide nothing: whom an invitation
brings back changes who is counted, so that revenue per returner may fall where every user is worth more.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Literal

import numpy as np
from scipy import stats

from ml.experiments.assignment import ExperimentError
from ml.experiments.comparison import Effect, compare
from ml.experiments.corrections import benjamini_hochberg, heterogeneity_p_value, holm
from ml.experiments.power import users_for_proportions
from ml.experiments.readout import SAMPLE_RATIO_LEVEL, Design, Metric
from ml.experiments.sequential import always_valid_effect, effect_at_look
from ml.experiments.statistics import CovariateStatistic, RatioStatistic, adjusted

__all__ = ["Action", "CampaignReadout", "Finding", "Stratum", "read_campaign"]

Action = Literal["wait", "go_on", "stop", "stop_for_harm", "ended", "withheld"]

# Fewer users on either side say nothing that an interval by the normal law could hold.
LEAST_USERS = 20

# With fewer (effective) users who did anything at all, a sum is no normal figure and its variance not known: an arm in
# which by chance nobody paid would have an interval of no width. Rare outcomes are read later than common ones.
LEAST_OUTCOMES, LEAST_OUTCOMES_A_SIDE = 50, 8

# Everybody, as opposed to one segment.
EVERYBODY = "all"


# What is known of one side of a stratum: a figure per assigned user, or a ratio of two.
Measured = CovariateStatistic | RatioStatistic


@dataclass(frozen=True)
class Stratum:
    """Users of one way of choosing, drawn with one chance: those invited and those held back.

    Attributes:
        arm: how they were chosen.
        segment: their segment.
        propensity: chance of being invited.
        invited, held_back: the statistic of each metric, by its name.
    """

    arm: str
    segment: str
    propensity: float
    invited: Mapping[str, Measured]
    held_back: Mapping[str, Measured]


@dataclass(frozen=True)
class Finding:
    """One comparison of a campaign.

    Attributes:
        arm, metric, segment: what is compared, and for whom ("all" for everybody).
        compared_with: "none" for the arm's own controls, or the arm whose lift it is compared with.
        users, controls: users on either side.
        effect: the difference with its interval.
        p_value_adjusted: corrected for all comparisons that decide, or for all ratios; the plain one for segments.
        chance_to_win, expected_loss: with a flat prior.
        sentence: in words.
    """

    arm: str
    metric: str
    segment: str
    compared_with: str
    users: int
    controls: int
    effect: Effect
    p_value_adjusted: float
    chance_to_win: float
    expected_loss: float
    sentence: str


@dataclass(frozen=True)
class CampaignReadout:
    """What a campaign says so far.

    Attributes:
        action: what to do.
        decision: what it says and what to do, in words.
        findings: all comparisons; empty when withheld or when there is nothing to compare yet.
        sample_ratio_p_value: chance of splits at least this far from the intended ones; None without users.
        heterogeneity_p_value: chance of lifts on the first metric this different between segments; None if unknown.
    """

    action: Action
    decision: str
    findings: tuple[Finding, ...]
    sample_ratio_p_value: float | None
    heterogeneity_p_value: float | None


@dataclass(frozen=True)
class Lift:
    """A difference with its standard error and the users on either side; `degrees` of freedom of the t-test."""

    value: float
    error: float
    users: int
    controls: int
    degrees: float = math.inf


def read_campaign(
    strata: Sequence[Stratum],
    metrics: Sequence[Metric],
    *,
    deciding_arm: str,
    design: Design,
    look: int = 1,
    is_last: bool = False,
    no_contact: str = "no contact",
) -> CampaignReadout:
    """Read a campaign.

    Args:
        strata: all users, split by way of choosing, segment and chance.
        metrics: what is compared; the first one decides, each of them but ratios may show harm.
        deciding_arm: the arm that the decision is about; the others are told beside it.
        design: how it was planned to be read, fixed before the first look.
        look: group-sequential: which look this is, from 1.
        is_last: no more users will come: without proof the campaign has ended.
        no_contact: what the controls are called in words.
    """
    arms = sorted({stratum.arm for stratum in strata}, key=lambda arm: (arm != deciding_arm, arm))
    ratio = _sample_ratio(strata, metrics[0].name)
    if ratio is not None and ratio < SAMPLE_RATIO_LEVEL:
        return CampaignReadout("withheld", _withheld(strata, metrics[0].name, ratio), (), ratio, None)
    lifts = {
        (arm, metric.name): lift
        for arm in arms
        for metric in metrics
        if (lift := _lift([each for each in strata if each.arm == arm], metric.name)) is not None
    }
    if not lifts:
        return CampaignReadout(
            "wait", "Wait: too few users with closed windows, or too few who came back, to compare.", (), ratio, None
        )
    comparisons: list[tuple[str, str, Metric, Lift]] = [
        (arm, "none", metric, lifts[arm, metric.name])
        for metric in metrics
        for arm in arms
        if (arm, metric.name) in lifts
    ]
    for metric in metrics:
        first = lifts.get((deciding_arm, metric.name))
        for other in arms:
            second = lifts.get((other, metric.name))
            if other != deciding_arm and first is not None and second is not None:
                comparisons.append((deciding_arm, other, metric, _between(first, second)))
    effects = [_effect(lift, design, look) for _, _, _, lift in comparisons]
    p_values = _adjusted_p_values(comparisons, effects, design)
    findings = [
        _finding(arm, other, metric, EVERYBODY, lift, effect, float(p_value), no_contact)
        for (arm, other, metric, lift), effect, p_value in zip(comparisons, effects, p_values, strict=True)
    ]
    segments = _by_segment(strata, deciding_arm, metrics[0], design, look, no_contact)
    errors = np.array([finding.effect.standard_error for finding in segments])
    varied = errors > 0
    heterogeneity = None
    if varied.sum() >= 2:
        values = np.array([finding.effect.value for finding in segments])
        heterogeneity = heterogeneity_p_value(values[varied], errors[varied])
    action, decision = _decide(findings, metrics, deciding_arm, design, is_last=is_last, strata=strata)
    return CampaignReadout(action, decision, (*findings, *segments), ratio, heterogeneity)


def _adjusted_p_values(
    comparisons: Sequence[tuple[str, str, Metric, Lift]], effects: Sequence[Effect], design: Design
) -> np.ndarray:
    """P-values corrected for all comparisons that may decide, and for all ratios; shape (comparisons,)."""
    adjust = holm if design.correction == "holm" else benjamini_hochberg
    p_values = np.array([effect.p_value for effect in effects])
    is_ratio = np.array([bool(metric.base) for _, _, metric, _ in comparisons])
    for family in (is_ratio, ~is_ratio):
        if family.any():
            p_values[family] = adjust(p_values[family])
    return p_values


def _lift(strata: Sequence[Stratum], metric: str) -> Lift | None:
    """The difference between invited and held back, stratum by stratum of the chance; None with too few users."""
    by_chance: dict[float, list[Stratum]] = {}
    for stratum in strata:
        by_chance.setdefault(stratum.propensity, []).append(stratum)
    sums = [
        (reduce(add, (each.held_back[metric] for each in same)), reduce(add, (each.invited[metric] for each in same)))
        for same in by_chance.values()
    ]
    parts = [pair for pair in sums if _can_be_compared(*pair)]
    users, controls = sum(pair[1].n for pair in parts), sum(pair[0].n for pair in parts)
    if min(users, controls) < LEAST_USERS:
        return None
    outcomes = [_outcomes([pair[side] for pair in parts]) for side in (0, 1)]
    if sum(outcomes) < LEAST_OUTCOMES or min(outcomes) < LEAST_OUTCOMES_A_SIDE:
        return None
    effects = [compare(*adjusted(*pair)) for pair in parts]
    sizes = np.array([pair[0].n + pair[1].n for pair in parts]) / (users + controls)
    value = float(sum(size * effect.value for size, effect in zip(sizes, effects, strict=True)))
    error = math.sqrt(sum((size * effect.standard_error) ** 2 for size, effect in zip(sizes, effects, strict=True)))
    # Welch's degrees are at least those of the smaller side; joined strata have more.
    degrees = min(sum(pair[side].counted for pair in parts) for side in (0, 1)) - 1
    return Lift(value, error, users, controls, degrees)


def _can_be_compared(held_back: Measured, invited: Measured) -> bool:
    """Whether both sides have a variance, and a ratio enough of what it is counted by."""
    least = LEAST_OUTCOMES_A_SIDE if isinstance(invited, RatioStatistic) else 2
    return min(held_back.counted, invited.counted) >= least


def _outcomes(sides: Sequence[Measured]) -> float:
    """Effective number of users with an outcome: users with a yes; for money, as many equal payers as would vary so."""
    squares = sum(side.total_of_squares for side in sides)
    return sum(side.total for side in sides) ** 2 / squares if squares > 0 else 0.0


def _between(first: Lift, second: Lift) -> Lift:
    """The difference of two lifts, which share no user."""
    return Lift(
        first.value - second.value,
        math.hypot(first.error, second.error),
        first.users + first.controls,
        second.users + second.controls,
        min(first.degrees, second.degrees),
    )


def _effect(lift: Lift, design: Design, look: int) -> Effect:
    """Interval and p-value by the method of the design."""
    n = lift.users + lift.controls
    if design.kind == "always-valid":
        return always_valid_effect(lift.value, lift.error, n, alpha=design.alpha, tuning=design.tuning)
    if design.kind == "group-sequential":
        return effect_at_look(lift.value, lift.error, n, look=look, looks=design.looks, alpha=design.alpha)
    if lift.error == 0:
        certain = 1.0 if lift.value == 0 else 0.0
        return Effect(lift.value, lift.value, lift.value, certain, 0.0, n, "t-test, absolute")
    half = float(stats.t.ppf(1 - design.alpha / 2, lift.degrees)) * lift.error
    p_value = float(2 * stats.t.sf(abs(lift.value) / lift.error, lift.degrees))
    return Effect(lift.value, lift.value - half, lift.value + half, p_value, lift.error, n, "t-test, absolute")


def _finding(
    arm: str,
    other: str,
    metric: Metric,
    segment: str,
    lift: Lift,
    effect: Effect,
    p_value: float,
    no_contact: str,
) -> Finding:
    """A comparison with its chances and its sentence."""
    win, loss = 0.5 if lift.value == 0 else float(lift.value > 0), max(0.0, -lift.value)
    if lift.error > 0:
        standardised = lift.value / lift.error
        win = float(stats.norm.cdf(standardised))
        loss = float(lift.error * (stats.norm.pdf(standardised) - standardised * stats.norm.sf(standardised)))
    named = no_contact if other == "none" else other
    sentence = _sentence(arm, named, metric, effect)
    return Finding(arm, metric.name, segment, other, lift.users, lift.controls, effect, p_value, win, loss, sentence)


def _sentence(arm: str, other: str, metric: Metric, effect: Effect) -> str:
    """The comparison as a person says it: between two figures in its own direction, signed where they have two."""
    direction, sign = ("more", 1) if effect.value >= 0 else ("less", -1)
    who, than, of_whom = f"The {arm} arm", other, " a user"
    if metric.base:
        who, than, of_whom = f"{who}'s {metric.base}s", f"those of {other}", " each"
    scale, digits, unit = (100, 1, " points") if metric.is_share else (1, 2, of_whom)
    low, high = sorted((sign * scale * effect.low, sign * scale * effect.high))
    # One sign for all figures where the interval leaves zero out: "4.1 points more, between 2.9 and 5.3".
    form = f".{digits}f" if low >= 0 else f"+.{digits}f"
    size = scale * abs(effect.value)
    return (
        f"{who} {metric.verb} {size:.{digits}f}{unit} {direction} than {than}, between {low:{form}} and {high:{form}}."
    )


def _by_segment(
    strata: Sequence[Stratum], arm: str, metric: Metric, design: Design, look: int, no_contact: str
) -> list[Finding]:
    """The deciding arm's lift in each segment with enough users."""
    findings = []
    for segment in sorted({stratum.segment for stratum in strata if stratum.arm == arm}):
        lift = _lift([each for each in strata if each.arm == arm and each.segment == segment], metric.name)
        if lift is not None:
            effect = _effect(lift, design, look)
            findings.append(_finding(arm, "none", metric, segment, lift, effect, effect.p_value, no_contact))
    return findings


def _sample_ratio(strata: Sequence[Stratum], metric: str) -> float | None:
    """The smallest p-value of the splits of all arms and chances, corrected for their number; None without users."""
    counts: dict[tuple[str, float], list[int]] = {}
    for stratum in strata:
        count = counts.setdefault((stratum.arm, stratum.propensity), [0, 0])
        count[0] += stratum.invited[metric].n
        count[1] += stratum.held_back[metric].n
    p_values = []
    for (_, propensity), (invited, held) in counts.items():
        if not 0 < propensity < 1:
            raise ExperimentError("Arms are compared only where each user had a chance of both.")
        whole = invited + held
        if whole:
            expected = whole * propensity
            statistic = (invited - expected) ** 2 / expected + (held - (whole - expected)) ** 2 / (whole - expected)
            p_values.append(float(stats.chi2.sf(statistic, 1)))
    return min(1.0, len(p_values) * min(p_values)) if p_values else None


def _withheld(strata: Sequence[Stratum], metric: str, ratio: float) -> str:
    """Why nothing may be read."""
    told = []
    for arm in sorted({stratum.arm for stratum in strata}):
        mine = [stratum for stratum in strata if stratum.arm == arm]
        invited = sum(stratum.invited[metric].n for stratum in mine)
        held = sum(stratum.held_back[metric].n for stratum in mine)
        wanted = sum(stratum.propensity * (stratum.invited[metric].n + stratum.held_back[metric].n) for stratum in mine)
        told.append(f"{arm} {invited} invited and {held} held back where {wanted:.0f} should be invited")
    return (
        f"Withheld: {'; '.join(told)} (p = {ratio:.2g}). Find out where users got lost or moved before any figure is "
        "believed."
    )


def _decide(
    findings: Sequence[Finding],
    metrics: Sequence[Metric],
    deciding_arm: str,
    design: Design,
    *,
    is_last: bool,
    strata: Sequence[Stratum],
) -> tuple[Action, str]:
    """What to do: stop for harm, stop because it is proven, go on, or end without proof."""
    ratios = {metric.name for metric in metrics if metric.base}
    lifts = [each for each in findings if each.compared_with == "none" and each.metric not in ratios]
    first = [each for each in lifts if each.metric == metrics[0].name]
    told = [each.sentence for each in first]
    told += [each.sentence for each in findings if each.compared_with != "none" and each.metric == metrics[0].name]
    of_deciding = [each for each in findings if (each.arm, each.compared_with) == (deciding_arm, "none")]
    told += [each.sentence for each in of_deciding if each.metric in ratios and each.effect.excludes_zero]
    said = " ".join(told)
    deciding = [each for each in lifts if each.arm == deciding_arm]
    harmful = [each for each in deciding if each.effect.high < 0 and each.p_value_adjusted < design.alpha]
    if harmful:
        others = " ".join(each.sentence for each in harmful if each.metric != metrics[0].name)
        return "stop_for_harm", f"{said} {others} Stop for harm: invite nobody any more.".replace("  ", " ")
    proven = [each for each in first if each.effect.low > 0 and each.p_value_adjusted < design.alpha]
    if any(each.arm == deciding_arm for each in proven):
        return "stop", f"{said} Stop measuring: the {deciding_arm} arm is proven better, keep inviting by it."
    if is_last:
        return "ended", f"{said} It ends without a proven difference: keep what costs less."
    return "go_on", f"{said} Go on; stop when the {deciding_arm} arm's interval leaves zero{_when(deciding, strata)}."


def _when(deciding: Sequence[Finding], strata: Sequence[Stratum]) -> str:
    """How many more users the difference seen so far would need, where it is a rise of a share."""
    if not deciding:
        return ""
    finding = deciding[0]
    controls = [stratum.held_back[finding.metric] for stratum in strata if stratum.arm == finding.arm]
    users = sum(each.n for each in controls)
    share = sum(each.total for each in controls) / users if users else 0.0
    risen = share + finding.effect.value
    if not (0 < share < 1 and 0 < risen < 1) or finding.effect.value == 0:
        return ""
    held = finding.controls / (finding.users + finding.controls)
    needed = users_for_proportions(share, risen) / (2 * held * (1 - held)) - finding.users - finding.controls
    return f", for a difference of this size after some {max(0, math.ceil(needed)):,} more users"
