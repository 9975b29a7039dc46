"""The A/A self-test passes a sound assignment and sees a broken one."""

import numpy as np
import pytest

from ml.experiments import ExperimentError, is_in_share, run_self_test, self_test

USERS = [f"user {number}" for number in range(1_000)]
FIGURES = np.random.default_rng(0).gamma(1.0, 5.0, len(USERS))


def test_a_sound_assignment_keeps_its_level() -> None:
    result = run_self_test(USERS, FIGURES, experiments=600)
    assert result.is_sound
    assert 0.03 <= result.false_positives <= 0.07
    assert "as it should be." in result.sentence


def test_an_assignment_that_looks_at_the_figure_or_loses_users_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def partial(salt: str, share: float, users: list[str]) -> np.ndarray:
        return is_in_share(salt, share, users) | (np.arange(len(users)) % 3 == 0) & (FIGURES > 12)

    monkeypatch.setattr(self_test, "is_in_share", partial)
    result = run_self_test(USERS, FIGURES, experiments=300)
    assert not result.is_sound
    assert "believe no experiment until it is found" in result.sentence
    monkeypatch.setattr(self_test, "is_in_share", lambda salt, _, users: is_in_share(salt, 0.6, users))
    assert run_self_test(USERS, FIGURES, experiments=50).alarms > 0.9


def test_too_few_users_are_refused() -> None:
    with pytest.raises(ExperimentError, match="at least 100 users"):
        run_self_test(USERS[:50], FIGURES[:50])
