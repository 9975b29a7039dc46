"""A readout in words: what is better, what is harmful, and when nothing may be said."""

import pytest

from ml.experiments import (
    Arm,
    CovariateStatistic,
    Design,
    ExperimentError,
    MeanStatistic,
    Metric,
    ProportionStatistic,
    read_experiment,
)

RETURN, REVENUE = Metric("return", "returned", True), Metric("revenue", "paid", False)


def arm(name: str, users: int, returned: int, *, weight: float = 1.0) -> Arm:
    statistics = {
        "return": ProportionStatistic(users, returned),
        "revenue": MeanStatistic(users, 2.0 * returned, 8.0 * returned),
    }
    return Arm(name, weight, users, statistics)


def test_the_better_arm_is_named_with_its_interval() -> None:
    arms = (arm("random", 5_000, 500), arm("targeted", 5_000, 705))
    readout = read_experiment(arms, (RETURN, REVENUE), control="random")
    assert not readout.is_withheld
    assert readout.comparisons[0].sentence == (
        "The targeted arm returned 4.1 points more than random, between +2.8 and +5.4."
    )
    assert readout.decision.endswith("Stop: targeted is better.")
    assert readout.comparisons[0].chance_to_win > 0.999
    assert [each.metric for each in readout.comparisons] == ["return", "revenue"]


def test_harm_stops_early_and_nothing_proven_goes_on() -> None:
    always = Design(kind="always-valid", tuning=10_000)
    harmed = read_experiment(
        (arm("none", 5_000, 800), arm("rule", 5_000, 500)), (RETURN,), control="none", design=always
    )
    assert harmed.decision.endswith("Stop for harm: rule.")
    arms = (arm("none", 5_000, 500), arm("rule", 5_000, 510))
    calm = read_experiment(arms, (RETURN,), control="none", design=always)
    assert calm.decision.endswith("Go on: nothing is proven yet.")
    ended = read_experiment(arms, (RETURN,), control="none")
    assert ended.decision.endswith("keep what costs less.")


def test_a_split_that_is_not_the_intended_one_withholds_everything() -> None:
    readout = read_experiment((arm("none", 5_400, 500), arm("rule", 4_600, 900)), (RETURN,), control="none")
    assert readout.is_withheld
    assert readout.comparisons == ()
    assert readout.decision.startswith("Withheld: 5400 none, 4600 rule")
    intended = (arm("none", 5_400, 500, weight=54), arm("rule", 4_600, 900, weight=46))
    assert not read_experiment(intended, (RETURN,), control="none").is_withheld


def test_many_arms_and_metrics_are_corrected_together() -> None:
    arms = (arm("none", 5_000, 500), *(arm(name, 5_000, 562) for name in ("targeted", "random", "rule")))
    readout = read_experiment(arms, (RETURN, REVENUE), control="none")
    assert all(each.effect.p_value < 0.05 for each in readout.comparisons if each.metric == "return")
    assert all(each.p_value_adjusted > 0.05 for each in readout.comparisons)
    assert "ends without a proven difference" in readout.decision


def test_group_sequential_designs_stop_at_their_boundary() -> None:
    design = Design(kind="group-sequential", looks=4)
    arms = (arm("none", 1_000, 100), arm("rule", 1_000, 130))
    first = read_experiment(arms, (RETURN,), control="none", design=design, look=1)
    assert first.decision.endswith("Go on: nothing is proven yet.")
    last = read_experiment(arms, (RETURN,), control="none", design=design, look=4)
    assert last.decision.endswith("Stop: rule is better.")


def test_figures_from_before_sharpen_the_readout_or_are_refused_if_only_one_arm_has_them() -> None:
    def with_before(name: str, extra: float) -> Arm:
        n = 1_000
        statistic = CovariateStatistic(n, 1_000.0 + extra, 3_000.0, 1_000.0, 3_000.0, 2_900.0)
        return Arm(name, 1.0, n, {"revenue": statistic})

    adjusted = read_experiment((with_before("none", 0.0), with_before("rule", 50.0)), (REVENUE,), control="none")
    assert adjusted.comparisons[0].effect.standard_error < 0.03
    assert adjusted.decision.endswith("Stop: rule is better.")
    with pytest.raises(ExperimentError, match="Only one of the arms"):
        read_experiment((with_before("none", 0.0), arm("rule", 1_000, 10)), (REVENUE,), control="none")
    with pytest.raises(ExperimentError, match="read against a control"):
        read_experiment((arm("rule", 10, 1),), (RETURN,), control="none")
