"""Small worlds with a known truth for the tests of the response room."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.response import Examples


@dataclass(frozen=True)
class World:
    """Examples and what is true of each row: the chance without an event and the effect of its event."""

    examples: Examples
    p_without: np.ndarray
    effect: np.ndarray


def make_world(
    rows: int = 6000, *, seed: int = 0, effect: float = 1.0, is_randomised: bool = True, share_exposed: float = 0.6
) -> World:
    """Three event types: `story` lifts by .05, `bonus` by .15, `contest` by .20 for those with spirit > 0 only.

    The chance without an event depends on `habit`. Where assignment is not randomised, users with a high habit are
    exposed more often, so that the naive difference is far too large.
    """
    draw = np.random.default_rng(seed)
    habit, spirit = draw.normal(size=rows), draw.normal(size=rows)
    types = np.array(["bonus", "contest", "story"], dtype=object)[draw.integers(0, 3, rows)]
    probability = np.full(rows, share_exposed)
    if not is_randomised:
        probability = 1 / (1 + np.exp(-(np.log(share_exposed / (1 - share_exposed)) + 1.2 * habit)))
    exposed = draw.random(rows) < probability
    p_without = 1 / (1 + np.exp(-(-1.5 + 0.8 * habit)))
    lift = np.select([types == "bonus", types == "story"], [0.15, 0.05], 0.20 * (spirit > 0)) * effect
    outcome = (draw.random(rows) < np.clip(p_without + exposed * lift, 0, 1)).astype(float)
    features = pd.DataFrame(
        {
            "habit": habit,
            "spirit": spirit,
            "noise": draw.normal(size=rows),
            "country": np.array(["DE", "FR", None], dtype=object)[draw.integers(0, 3, rows)],
        }
    )
    features.loc[::9, "noise"] = np.nan
    examples = Examples(
        features=features,
        event_features=pd.DataFrame({"past_returns": draw.poisson(0.3, rows).astype(float)}),
        user_ids=np.array([f"user {number}" for number in draw.integers(0, rows // 3, rows)], dtype=object),
        event_types=types,
        is_exposed=exposed,
        assignment_probability=probability if is_randomised else np.full(rows, np.nan),
        reference_days=17_000 + 14 * draw.integers(0, 12, rows),
        outcome=outcome,
    )
    return World(examples, p_without, lift)
