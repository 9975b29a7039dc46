"""Who gets what: at most one event a user, within capacities and budgets, with a certificate of how good it is."""

from ml.matching.problem import MatchingError, MatchingPlan, MatchingPrices, MatchingProblem
from ml.matching.solver import solve_matching

__all__ = ["MatchingError", "MatchingPlan", "MatchingPrices", "MatchingProblem", "solve_matching"]
