"""Who gets what: at most one event a user, within capacities and budgets, with a certificate of how good it is."""

from ml.matching.explanation import describe_prices
from ml.matching.problem import MatchingError, MatchingPlan, MatchingPrices, MatchingProblem
from ml.matching.solver import solve_matching

__all__ = ["MatchingError", "MatchingPlan", "MatchingPrices", "MatchingProblem", "describe_prices", "solve_matching"]
