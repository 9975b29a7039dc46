"""Plans to compare the product's with. A plan is the chosen event's position for each user, or NOBODY."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from catboost import CatBoostClassifier, CatBoostRegressor

from ml.matching import MatchingProblem, solve_matching

NOBODY = -1
_FOLDS = 5
#: The truth of so many other users teaches what there is to learn from the features; more would cost hours.
_MOST_TAUGHT = 30_000
#: One thread, so that the same world gives the same figures on every machine.
_BOOSTING = {"thread_count": 1, "random_seed": 1, "verbose": False, "allow_writing_files": False}
_SETTINGS = {"iterations": 300, "depth": 6, "learning_rate": 0.05, **_BOOSTING}


@dataclass(frozen=True)
class Board:
    """What every plan must respect: the same for all.

    Attributes:
        allowed: bool (users, events): consent, no earlier exposure to the event, under the contact cap.
        capacities: float (events,), places left, inf for no limit.
    """

    allowed: np.ndarray
    capacities: np.ndarray


@dataclass(frozen=True)
class PastExamples:
    """Past moments of inactive users, one a row.

    Attributes:
        features: what was known before the moment.
        event_type: the type of the event, "" where there was none.
        is_treated: whether the user was invited.
        has_returned: the outcome, 0 or 1.
        revenue: money within 30 days of a return; NaN where it is not known yet or there was no return.
    """

    features: pd.DataFrame
    event_type: np.ndarray
    is_treated: np.ndarray
    has_returned: np.ndarray
    revenue: np.ndarray


def plan_value(plan: np.ndarray, values: np.ndarray) -> float:
    """Add up what a plan is worth, given the value of every pair."""
    chosen = np.flatnonzero(plan != NOBODY)
    return float(values[chosen, plan[chosen]].sum())


def best_plan(values: np.ndarray, board: Board) -> np.ndarray:
    """Choose with the product's own matching, which is certified to be next to optimal."""
    problem = MatchingProblem(values=values, allowed=board.allowed, capacities=board.capacities)
    return np.asarray(solve_matching(problem).event)


def random_plan(board: Board, count: int, *, random_state: np.random.Generator) -> np.ndarray:
    """Invite so many users drawn at random, each to a random event that still has a place."""
    users = random_state.permutation(np.flatnonzero(board.allowed.any(axis=1)))[:count]
    scores = random_state.random((len(users), board.allowed.shape[1]))
    return _greedy(users, scores, board)


def likeliest_plan(
    past: PastExamples, features: pd.DataFrame, events: pd.DataFrame, board: Board, count: int
) -> np.ndarray:
    """Invite those most likely to return, to the event after whose type most of the invited came back."""
    chance = _chance(past.features, past.has_returned, _filled(features[past.features.columns]))
    users = np.flatnonzero(board.allowed.any(axis=1))
    users = users[np.argsort(-chance[users], kind="stable")][:count]
    invited = pd.Series(past.has_returned[past.is_treated]).groupby(past.event_type[past.is_treated]).mean()
    rates = events["event_type"].map(invited).fillna(0.0).to_numpy(dtype=np.float64)
    return _greedy(users, np.broadcast_to(rates, (len(users), len(rates))), board)


def analyst_plan(
    past: PastExamples, features: pd.DataFrame, events: pd.DataFrame, board: Board
) -> tuple[np.ndarray, np.ndarray]:
    """Plan like an analyst on one page: a CatBoost T-learner by event type, money a return, then greedily by value.

    Returns:
        the plan, and the value that the analyst expects of every pair.
    """
    known, users = np.isfinite(past.revenue), _filled(features[past.features.columns])
    revenue = np.maximum(_amount(past.features[known], past.revenue[known], users), 0)
    p_alone = _chance(past.features[~past.is_treated], past.has_returned[~past.is_treated], users)
    values = np.zeros(board.allowed.shape)
    rewards, contacts = (events[name].to_numpy(dtype=float) for name in ("reward_cost", "contact_cost"))
    for position, event_type in enumerate(events["event_type"]):
        rows = past.is_treated & (past.event_type == event_type)
        p_invited = _chance(past.features[rows], past.has_returned[rows], users) if rows.any() else p_alone
        values[:, position] = p_invited * (revenue - rewards[position]) - p_alone * revenue - contacts[position]
    worth = np.where(board.allowed, values, -np.inf)
    order = np.argsort(-worth.max(axis=1), kind="stable")
    return _greedy(order, np.where(worth > 0, worth, -np.inf)[order], board), values


def attainable_values(features: list[pd.DataFrame], truth: np.ndarray) -> np.ndarray:
    """Predict every pair's true value from the same features by models that learn the truth of *other* users.

    Five folds of users; a CatBoost regression for each event. No product that sees these features alone can be
    expected to know more.

    Args:
        features: for each event, what is known of the users, same rows.
        truth: true values, shape (users, events).
    """
    users = np.arange(len(truth))
    fold = np.random.default_rng(1).permutation(users) % _FOLDS
    values = np.zeros(truth.shape)
    for position, frame in enumerate(features):
        varying = frame[[name for name in frame if frame[name].nunique(dropna=False) > 1]]
        filled, words = _filled(varying), _words(varying)
        for held_out in range(_FOLDS):
            learned, asked = np.flatnonzero(fold != held_out)[:_MOST_TAUGHT], np.flatnonzero(fold == held_out)
            taught = truth[learned, position]
            if varying.columns.empty or len(np.unique(taught)) < 2:  # a world of a few: one figure for all
                values[asked, position] = taught.mean() if len(taught) else 0.0
                continue
            model = CatBoostRegressor(iterations=400, depth=6, learning_rate=0.05, **_BOOSTING, **words)
            model.fit(filled.iloc[learned], taught)
            values[asked, position] = model.predict(filled.iloc[asked])
    return values


def _chance(features: pd.DataFrame, outcome: np.ndarray, users: pd.DataFrame) -> np.ndarray:
    """Learn a chance from examples and predict it for users."""
    if len(np.unique(outcome)) < 2:
        return np.full(len(users), outcome.mean() if len(outcome) else 0.0)
    model = CatBoostClassifier(**_SETTINGS, **_words(features)).fit(_filled(features), outcome)
    return np.asarray(model.predict_proba(users))[:, 1]


def _amount(features: pd.DataFrame, outcome: np.ndarray, users: pd.DataFrame) -> np.ndarray:
    """Learn an amount from examples and predict it for users."""
    if len(np.unique(outcome)) < 2:
        return np.full(len(users), outcome.mean() if len(outcome) else 0.0)
    model = CatBoostRegressor(**_SETTINGS, **_words(features)).fit(_filled(features), outcome)
    return np.asarray(model.predict(users))


def _greedy(users: np.ndarray, scores: np.ndarray, board: Board) -> np.ndarray:
    """Give the users, in their order, the best scored event that they may have and that has a place."""
    plan = np.full(len(board.allowed), NOBODY)
    places = board.capacities.copy()
    for user, score in zip(users, scores, strict=True):
        possible = np.where(board.allowed[user] & (places > 0), score, -np.inf)
        event = int(possible.argmax())
        if np.isfinite(possible[event]):
            plan[user] = event
            places[event] -= 1
    return plan


def _words(frame: pd.DataFrame) -> dict[str, list[str]]:
    return {"cat_features": [str(name) for name in frame if not _is_number(frame[name])]}


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)


def _filled(frame: pd.DataFrame) -> pd.DataFrame:
    """Make a frame fit for CatBoost: numbers as floats, words without gaps."""
    return pd.DataFrame(
        {
            name: frame[name].astype("float64")
            if _is_number(frame[name])
            else frame[name].astype(object).fillna("").astype(str)
            for name in frame
        },
        index=frame.index,
    )
