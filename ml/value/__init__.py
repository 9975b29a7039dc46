"""What a user is worth: purchases to come, money a purchase, influence on friends, and the value score."""

from ml.value.errors import ValueModelError
from ml.value.score import (
    ValueWeights,
    expected_incremental_value,
    rank_users,
    value_of_a_return,
    value_score,
)

__all__ = [
    "ValueModelError",
    "ValueWeights",
    "expected_incremental_value",
    "rank_users",
    "value_of_a_return",
    "value_score",
]
