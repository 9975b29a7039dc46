"""A challenger takes over when it is better beyond noise on the same later rows, and never when it is worse at one."""

from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pytest

from ml.pipelines.promotion import Verdict, judge_challenger
from ml.response import Examples, ReturnModel
from tests.ml.response.worlds import make_world

LONG_AGO = date(2000, 1, 1)


@dataclass
class Stub:
    """A scoring model of which only the return model counts."""

    returns: object

    def with_worth(self, features: object) -> object:
        return features


@dataclass
class Fixed:
    """A return model that says figures given by a function of the examples."""

    chance: object
    affinity: None = None

    def predict_examples(self, examples: Examples) -> np.ndarray:
        return self.chance(examples)  # type: ignore[operator]


@pytest.fixture(scope="module")
def examples() -> Examples:
    return make_world(6000, seed=3).examples


def judge(examples: Examples, chance_of_champion: object) -> Verdict:
    challenger, champion = Stub(Fixed(lambda _: None)), Stub(Fixed(chance_of_champion))
    return judge_challenger(challenger, champion, LONG_AGO, examples, thread_count=1, random_state=0)  # type: ignore[arg-type]


def truth(examples: Examples) -> np.ndarray:
    """What the world does: see worlds.make_world."""
    alone = 1 / (1 + np.exp(1.5 - 0.8 * examples.features["habit"].to_numpy()))
    spirited = 0.2 * (examples.features["spirit"].to_numpy() > 0)
    lift = np.select([examples.event_types == "bonus", examples.event_types == "story"], [0.15, 0.05], spirited)
    return np.clip(alone + examples.is_exposed * lift, 0.001, 0.999)


def test_a_champion_that_knows_nothing_is_beaten(examples: Examples) -> None:
    verdict = judge(examples, lambda part: np.full(len(part), 0.3))
    assert verdict.promote
    assert verdict.policy_gain is not None
    assert "better than" in verdict.sentence
    assert "points of returns" in verdict.sentence


def test_a_champion_that_knows_the_truth_stays(examples: Examples) -> None:
    verdict = judge(examples, truth)
    assert not verdict.promote
    assert verdict.difference > -2 * verdict.standard_error


def test_choosing_worse_keeps_a_better_predictor_out(monkeypatch: pytest.MonkeyPatch, examples: Examples) -> None:
    champion = judge(examples, lambda part: np.full(len(part), 0.3))
    assert champion.promote

    def backwards(self: ReturnModel, part: Examples) -> np.ndarray:
        """Right about what happened, wrong about whom an invitation moves."""
        asked_for_policy = part.is_exposed.all() or not part.is_exposed.any()
        chance = truth(part)
        return chance if not asked_for_policy else truth(replace(part, is_exposed=~part.is_exposed))

    monkeypatch.setattr(ReturnModel, "predict_examples", backwards)
    verdict = judge(examples, lambda part: np.clip(truth(part) * 0.7, 0.001, 0.999))
    assert verdict.difference < 0
    assert verdict.policy_gain is not None
    assert verdict.policy_gain < 0
    assert not verdict.promote
    assert "better than" in verdict.sentence


def test_too_few_newer_outcomes_change_nothing(examples: Examples) -> None:
    newest = date.fromordinal(date(1970, 1, 1).toordinal() + int(examples.reference_days.max()) + 1)
    challenger = Stub(Fixed(lambda _: None))
    verdict = judge_challenger(
        challenger,
        challenger,
        newest,
        examples,
        thread_count=1,
        random_state=0,  # type: ignore[arg-type]
    )
    assert not verdict.promote
    assert "only 0 outcomes" in verdict.sentence
