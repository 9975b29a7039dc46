"""Who is kept of those that pass by does not depend on how they pass by."""

import numpy as np
import pandas as pd
import pytest

from ml.pipelines.sample import UserSample

USERS = np.array([f"user {number}" for number in range(1000)], dtype=object)


def kept(batches: list[np.ndarray], most: int = 50) -> list[str]:
    sample = UserSample(most)
    for users in batches:
        rows = sample.rows_to_offer(users)
        if rows.size:
            sample.add(users[rows], pd.DataFrame({"name": users[rows]}))
    return sample.rows["name"].tolist()


@pytest.mark.parametrize("size", [1, 7, 50, 999])
def test_the_same_users_are_kept_whatever_the_batches(size: int) -> None:
    shuffled = np.random.default_rng(size).permutation(USERS)
    batches = [shuffled[start : start + size] for start in range(0, len(shuffled), size)]
    assert kept(batches) == kept([USERS])
    assert len(kept(batches)) == 50
    assert kept(batches) == sorted(kept(batches))


def test_few_users_are_all_kept_and_nobody_is_no_error() -> None:
    assert kept([USERS[:20], USERS[20:30]]) == sorted(USERS[:30])
    assert UserSample(5).rows_to_offer(USERS[:0]).size == len(UserSample(5).rows) == 0
