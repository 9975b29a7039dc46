"""Small worlds whose true effects are known."""

import numpy as np
import pandas as pd

from ml.effects import Exposures


def make_exposures(
    is_exposed: np.ndarray,
    outcomes: dict[str, np.ndarray],
    features: np.ndarray,
    *,
    probability: np.ndarray | float = np.nan,
    segments: np.ndarray | None = None,
    channels: np.ndarray | None = None,
    event_ids: np.ndarray | None = None,
    user_ids: np.ndarray | None = None,
    costs: np.ndarray | None = None,
) -> Exposures:
    rows = len(is_exposed)

    def filled(values: np.ndarray | None, word: str) -> np.ndarray:
        return np.full(rows, word, dtype=object) if values is None else np.asarray(values, dtype=object)

    return Exposures(
        event_type="tournament",
        user_ids=np.array([f"u{row}" for row in range(rows)], dtype=object) if user_ids is None else user_ids,
        event_ids=filled(event_ids, "e1"),
        channels=filled(channels, "email"),
        segments=filled(segments, "all"),
        is_exposed=is_exposed,
        assignment_probability=np.broadcast_to(np.asarray(probability, dtype=float), rows).copy(),
        outcomes=outcomes,
        costs=np.zeros(rows) if costs is None else costs,
        features=pd.DataFrame(features, columns=[f"x{column}" for column in range(features.shape[1])]),
    )


def confounded_world(
    random: np.random.Generator, rows: int, effect: float, *, is_bent: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw features, exposure and return (0/1): users likely to return anyway are exposed more often."""
    features = random.normal(size=(rows, 4))
    pull = features[:, 0] + 0.5 * features[:, 1] + (0.5 * (features[:, 2] ** 2 - 1) if is_bent else 0.0)
    is_exposed = random.random(rows) < 1 / (1 + np.exp(-(0.8 * pull - 0.5)))
    chance = np.clip(0.3 + 0.08 * pull, 0.02, 0.98 - effect)
    returned = random.random(rows) < chance + effect * is_exposed
    return features, is_exposed, returned.astype(float)
