"""What a user is worth: purchases to come, money a purchase, influence on friends, and the value score."""

from ml.value.activity import ActivityModel
from ml.value.beta_geometric import BetaGeometric, ModifiedBetaGeometric
from ml.value.calibration import MoneyBySegment
from ml.value.errors import ValueModelError
from ml.value.influence import SocialInfluence, friend_sums
from ml.value.lifetime import LifetimeValueModel
from ml.value.models import Interval, PurchaseModel
from ml.value.pareto import ParetoNBD
from ml.value.rhythm import DEFINITIONS, ActivityRhythm, compare_definitions
from ml.value.score import (
    ValueWeights,
    expected_incremental_value,
    rank_users,
    value_of_a_return,
    value_score,
)
from ml.value.spend import GammaGamma

__all__ = [
    "DEFINITIONS",
    "ActivityModel",
    "ActivityRhythm",
    "BetaGeometric",
    "GammaGamma",
    "Interval",
    "LifetimeValueModel",
    "ModifiedBetaGeometric",
    "MoneyBySegment",
    "ParetoNBD",
    "PurchaseModel",
    "SocialInfluence",
    "ValueModelError",
    "ValueWeights",
    "compare_definitions",
    "expected_incremental_value",
    "friend_sums",
    "rank_users",
    "value_of_a_return",
    "value_score",
]
