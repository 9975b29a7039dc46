"""Before a campaign: what it will be able to show, and whether the machinery that reads it can be trusted."""

from __future__ import annotations

import math

import numpy as np

from local.errors import LocalError
from ml.experiments import (
    days_needed,
    run_self_test,
    smallest_visible_difference,
    users_for_proportions,
    users_with_control_share,
)
from warehouse.door import Warehouse
from warehouse.settings import Settings

__all__ = ["describe_power", "self_test"]

MOST_USERS = 5_000

USERS = """
    select user_id, cast(active_days_count_365d as double precision) as figure
    from features.feat_user_behaviour
    where as_of_date = (select max(as_of_date) from features.feat_user_behaviour)
    order by md5(user_id), user_id
    limit %s
"""


def describe_power(
    baseline: float, rise: float, users_a_day: float, control_share: float, settings: Settings
) -> list[str]:
    """Say how many users and days a rise of the return rate needs.

    Args:
        baseline: share of users who return uninvited, 0 to 1.
        rise: rise of that share that is to be shown.
        users_a_day: users a campaign chooses a day, controls included.
        control_share: share of them that is held back.
        settings: the windows.

    Raises:
        LocalError: shares that are none.
    """
    if not (0 < baseline < 1 and 0 < baseline + rise < 1 and 0 < control_share < 1 and users_a_day > 0 and rise != 0):
        raise LocalError(
            "Give shares between 0 and 1 (baseline, baseline + rise, control share) and users a day above 0."
        )
    equal = users_for_proportions(baseline, baseline + rise)
    users = users_with_control_share(equal, control_share)
    days = days_needed(users, users_a_day, settings.return_window_days)
    month = 28 * users_a_day
    visible = smallest_visible_difference(baseline, month * control_share, month * (1 - control_share))
    return [
        f"From {baseline:.1%} to {baseline + rise:.1%} with 80 % power at 5 %: {math.ceil(users):,} users, of whom "
        f"{math.ceil(users * control_share):,} are held back ({math.ceil(2 * equal):,} would do if half were).",
        f"At {users_a_day:,.0f} users a day that is known after {days:,} days, the return window of "
        f"{settings.return_window_days} days included.",
        f"Four weeks of {users_a_day:,.0f} users a day show a rise of {100 * visible:.1f} points or more.",
    ]


def self_test(settings: Settings, experiments: int) -> str:
    """Run experiments without a difference on the users of the newest features and say what came out.

    Raises:
        LocalError: no features have been built yet.
    """
    frame = Warehouse(settings.warehouse_url).read_frame(USERS, (MOST_USERS,))
    if frame.empty:
        raise LocalError("There are no features yet: type `make run` first.")
    return run_self_test(
        frame["user_id"].tolist(),
        frame["figure"].to_numpy(dtype=np.float64),
        experiments=experiments,
        seed=settings.seed,
    ).sentence
