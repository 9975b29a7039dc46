"""A campaign as a whole: each way of choosing against its own controls, in words, and the truth of a known world."""

from pathlib import Path

import numpy as np
import pytest

from local.samples import game_world
from ml.experiments import (
    CampaignReadout,
    CovariateStatistic,
    Design,
    ExperimentError,
    Metric,
    RatioStatistic,
    Stratum,
    read_campaign,
)
from tests.benchmarks.bench_coverage import Truth, coverage

RETURN, REVENUE = Metric("return", "returned", is_share=True), Metric("revenue", "paid", is_share=False)
PER_RETURNER = Metric("revenue_per_returner", "paid", is_share=False, base="returner")
FIXED = Design(kind="fixed")


def side(users: int, share: float, paid: float = 1.0) -> dict[str, CovariateStatistic]:
    """Users of whom a share returned; each of these paid the same."""
    returned = round(users * share)
    return {
        "return": CovariateStatistic(users, returned, returned, 0, 0, 0),
        "revenue": CovariateStatistic(users, paid * returned, paid * paid * returned, 0, 0, 0),
    }


def stratum(
    arm: str, invited: tuple[int, float], held: tuple[int, float], segment: str = "s", propensity: float = 0.5
) -> Stratum:
    return Stratum(arm, segment, propensity, side(*invited), side(*held))


def read(*strata: Stratum, **changes) -> CampaignReadout:
    arguments = {"deciding_arm": "targeted", "design": FIXED} | changes
    return read_campaign(strata, (RETURN, REVENUE), **arguments)


def test_the_decision_says_how_much_between_what_and_when_to_stop() -> None:
    good = read(
        stratum("targeted", (2_000, 0.20), (2_000, 0.12)),
        stratum("random", (2_000, 0.15), (2_000, 0.12)),
    )
    assert good.action == "stop"
    assert good.decision.startswith("The targeted arm returned 8.0 points more than no contact, between 5.7 and 10.3.")
    assert "The targeted arm returned 5.0 points more than random, between 1.9 and 8.1." in good.decision
    assert good.decision.endswith("Stop measuring: the targeted arm is proven better, keep inviting by it.")
    unsure = read(stratum("targeted", (400, 0.14), (400, 0.12)))
    assert unsure.action == "go_on"
    assert "between -2.7 and +6.7" in unsure.decision
    assert "Go on; stop when the targeted arm's interval leaves zero, for a difference of this size after" in (
        unsure.decision
    )
    assert read(stratum("targeted", (400, 0.14), (400, 0.12)), is_last=True).action == "ended"


def test_harm_of_the_deciding_arm_stops_and_of_another_does_not() -> None:
    harm = read(stratum("targeted", (2_000, 0.08), (2_000, 0.15)))
    assert harm.action == "stop_for_harm"
    assert harm.decision.startswith("The targeted arm returned 7.0 points less than no contact, between 5.0 and 9.0.")
    assert harm.decision.endswith("Stop for harm: invite nobody any more.")
    mixed = read(stratum("targeted", (2_000, 0.20), (2_000, 0.12)), stratum("random", (2_000, 0.08), (2_000, 0.15)))
    assert mixed.action == "stop"
    poorer = Stratum("targeted", "s", 0.5, side(2_000, 0.2, paid=1.0), side(2_000, 0.2, paid=3.0))
    assert read(poorer).action == "stop_for_harm"


def test_each_arm_is_compared_with_its_own_controls_chance_by_chance() -> None:
    """Half of a first plan was held back, a tenth later, when more returned anyway: pooling would see an effect."""
    first = stratum("targeted", (1_000, 0.10), (1_000, 0.10))
    later = stratum("targeted", (9_000, 0.30), (1_000, 0.30), propensity=0.9)
    finding = next(each for each in read(first, later).findings if each.metric == "return")
    assert finding.effect.value == pytest.approx(0.0, abs=1e-9)
    assert (finding.users, finding.controls) == (10_000, 2_000)


def test_segments_are_told_apart_and_corrections_cover_all_comparisons() -> None:
    strata = [
        stratum("targeted", (3_000, 0.30), (3_000, 0.10), segment="loud"),
        stratum("targeted", (3_000, 0.10), (3_000, 0.10), segment="quiet"),
    ]
    readout = read(*strata)
    by_segment = {each.segment: each.effect.value for each in readout.findings if each.metric == "return"}
    assert by_segment == pytest.approx({"all": 0.1, "loud": 0.2, "quiet": 0.0}, abs=1e-6)
    assert readout.heterogeneity_p_value is not None
    assert readout.heterogeneity_p_value < 1e-6
    overall = [each for each in readout.findings if each.segment == "all"]
    assert all(each.p_value_adjusted >= each.effect.p_value for each in overall)
    assert overall[0].chance_to_win > 0.999
    assert overall[0].expected_loss < 1e-9


def test_a_wrong_split_withholds_and_too_little_waits() -> None:
    withheld = read(stratum("targeted", (5_400, 0.2), (4_600, 0.1)))
    assert withheld.action == "withheld"
    assert withheld.findings == ()
    assert "targeted 5400 invited and 4600 held back where 5000 should be invited" in withheld.decision
    assert read(stratum("targeted", (15, 0.2), (15, 0.1))).action == "wait"
    # Nobody of the controls came back: the interval would have no width on that side.
    assert read(stratum("targeted", (300, 0.02), (300, 0.0))).action == "wait"
    with pytest.raises(ExperimentError, match="a chance of both"):
        read(stratum("targeted", (300, 0.2), (300, 0.2), propensity=1.0))


@pytest.mark.parametrize("kind", ["fixed", "always-valid", "group-sequential"])
def test_every_design_has_its_own_interval(kind) -> None:
    strata = stratum("targeted", (1_000, 0.2), (1_000, 0.15))
    effect = read(strata, design=Design(kind=kind, looks=4), look=2).findings[0].effect
    fixed = read(strata).findings[0].effect
    assert effect.value == fixed.value
    assert effect.high - effect.low >= fixed.high - fixed.low - 1e-12
    assert effect.low < fixed.value < effect.high


def drawn(returned: np.ndarray, paid: np.ndarray) -> dict[str, CovariateStatistic | RatioStatistic]:
    """Statistics of the users of one side, one value a user."""
    return {
        "return": CovariateStatistic.of(returned, np.zeros_like(returned)),
        "revenue": CovariateStatistic.of(paid, np.zeros_like(paid)),
        "revenue_per_returner": RatioStatistic.of(paid, returned),
    }


def test_a_ratio_is_told_in_words_corrected_by_itself_and_does_not_decide() -> None:
    """Twice as many return and pay more together, each of them less: a gain, whatever the ratio says."""
    random = np.random.default_rng(2)
    held_back = (random.random(4_000) < 0.1).astype(float)
    invited = (random.random(4_000) < 0.2).astype(float)
    sides = (
        drawn(invited, invited * random.gamma(4, 2.0, 4_000)),
        drawn(held_back, held_back * random.gamma(4, 2.5, 4_000)),
    )
    readout = read_campaign(
        [Stratum("targeted", "s", 0.5, *sides)],
        (RETURN, REVENUE, PER_RETURNER),
        deciding_arm="targeted",
        design=FIXED,
    )
    found = {each.metric: each for each in readout.findings if each.segment == "all"}
    ratio = found["revenue_per_returner"]
    assert ratio.effect.high < 0
    assert ratio.p_value_adjusted == ratio.effect.p_value
    assert found["revenue"].p_value_adjusted == max(each.effect.p_value for each in found.values() if each != ratio)
    assert ratio.sentence.startswith(
        f"The targeted arm's returners paid {-ratio.effect.value:.2f} each less than those of "
    )
    assert readout.action == "stop"
    assert ratio.sentence in readout.decision


def test_intervals_of_a_ratio_hold_the_truth_where_few_returned() -> None:
    """1,000 campaigns of 1,000 invited and 300 held back, of whom some 36 return; the true difference is 2."""
    random, held = np.random.default_rng(3), []
    for _ in range(1_000):
        sides = []
        for users, share, paid in ((1_000, 0.2, 7.0), (300, 0.12, 5.0)):
            returned = (random.random(users) < share).astype(float)
            sides.append(drawn(returned, returned * random.gamma(2, paid / 2, users)))
        stratum = Stratum("targeted", "s", 1_000 / 1_300, *sides)
        readout = read_campaign([stratum], (RETURN, PER_RETURNER), deciding_arm="targeted", design=FIXED)
        held += [
            each.effect.low <= 2 <= each.effect.high
            for each in readout.findings
            if (each.metric, each.segment) == ("revenue_per_returner", "all")
        ]
    assert len(held) > 900
    # 0.95 within three standard errors of the simulation.
    assert 0.93 <= np.mean(held) <= 0.97


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    folder: Path = tmp_path_factory.mktemp("world")
    game_world.write_source(folder / "source", players=1_500, seed=1, variant="slopes", truth_folder=folder / "truth")
    return Truth.read(folder / "truth")


def test_intervals_hold_the_truth_of_the_game_world_as_often_as_they_say(truth: Truth) -> None:
    """300 runs, read once at the end and on each of 28 days; bench_coverage adds money and group sequential looks."""
    found = coverage(truth, runs=300, users=6_000, designs=("fixed", "always-valid"), seed=4)
    read_runs, held = found["fixed", "return"]
    assert read_runs == 300
    assert 0.93 <= held / read_runs <= 0.97
    read_runs, held = found["always-valid", "return"]
    assert read_runs == 300
    assert held / read_runs >= 0.95
