"""The Lagrangian dual of the matching: prices for the limits, and the upper bound they certify.

With a price on every limit the problem falls apart into one choice a user: take the event with the largest value after
prices, or none. The sum of these best choices plus the limits at their prices is an upper bound for any prices at least
0; the lowest such bound is searched for with L-BFGS-B, first on a sample of the users and smoothed (a soft maximum
whose temperature falls), then on all of them as it is.
"""

from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from ml.matching.candidates import Candidates, Charges, Limits, chunks
from ml.matching.problem import MatchingPrices

SAMPLE_USERS = 10_000
TEMPERATURES = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
# A sample's prices are only a start: fewer steps do.
SAMPLE_TEMPERATURES = (0.3, 0.03, 0.003)


class PriceVector:
    """Between the flat vector that an optimiser moves and the prices of those limits that exist."""

    def __init__(self, candidates: Candidates, limits: Limits) -> None:
        self.limits = limits
        self.capacities = np.flatnonzero(np.isfinite(limits.capacities) & (limits.capacities < candidates.users))
        self.has_budget = bool(np.isfinite(limits.budget))
        self.event_budgets = np.flatnonzero(np.isfinite(limits.event_budgets))
        self.minimums = np.flatnonzero(limits.event_minimums > 0)
        with_segments = candidates.segments is not None
        self.maximum_shares = np.flatnonzero((limits.maximum_shares < 1) & with_segments)
        self.minimum_shares = np.flatnonzero((limits.minimum_shares > 0) & with_segments)
        parts = (
            self.capacities.size,
            int(self.has_budget),
            self.event_budgets.size,
            self.minimums.size,
            self.maximum_shares.size,
            self.minimum_shares.size,
        )
        self.ends = np.cumsum(parts)
        self.size = int(self.ends[-1])

    def split(self, prices: np.ndarray) -> list[np.ndarray]:
        """The parts of the flat vector, in the order of `__init__`."""
        return np.split(prices, self.ends[:-1])

    def constant(self, prices: np.ndarray) -> float:
        """The limits at their prices: the part of the bound that no user enters."""
        capacities, budget, event_budgets, minimums, _, _ = self.split(prices)
        limits = self.limits
        return float(
            capacities @ limits.capacities[self.capacities]
            + (budget[0] * limits.budget if self.has_budget else 0.0)
            + event_budgets @ limits.event_budgets[self.event_budgets]
            - minimums @ limits.event_minimums[self.minimums]
        )

    def charges(self, prices: np.ndarray) -> Charges:
        """What users are charged at these prices."""
        capacities, budget, event_budgets, minimums, maximum_shares, minimum_shares = self.split(prices)
        events = self.limits.capacities.size
        per_event, per_money = np.zeros(events), np.zeros(events)
        per_event[self.capacities] += capacities
        per_event[self.minimums] -= minimums
        if self.has_budget:
            per_money += budget[0]
        per_money[self.event_budgets] += event_budgets
        per_segment = np.zeros(self.limits.maximum_shares.size)
        per_segment[self.maximum_shares] -= maximum_shares
        per_segment[self.minimum_shares] += minimum_shares
        per_segment += maximum_shares @ self.limits.maximum_shares[self.maximum_shares]
        per_segment -= minimum_shares @ self.limits.minimum_shares[self.minimum_shares]
        return Charges(per_event, per_money, per_segment)

    def gradient(self, used: "Usage") -> np.ndarray:
        """Subgradient of the bound: what is left of each limit when users choose at these prices."""
        limits = self.limits
        chosen = used.counts.sum()
        return np.concatenate(
            [
                limits.capacities[self.capacities] - used.counts[self.capacities],
                [limits.budget - used.costs.sum()] if self.has_budget else [],
                limits.event_budgets[self.event_budgets] - used.costs[self.event_budgets],
                used.counts[self.minimums] - limits.event_minimums[self.minimums],
                limits.maximum_shares[self.maximum_shares] * chosen - used.segments[self.maximum_shares],
                used.segments[self.minimum_shares] - limits.minimum_shares[self.minimum_shares] * chosen,
            ]
        )

    def under(self, limits: Limits) -> "PriceVector":
        """The same places in the vector under other limits."""
        other = copy(self)
        other.limits = limits
        return other

    def scales(self, candidates: Candidates) -> tuple[float, np.ndarray]:
        """A typical value, and a typical price of each limit, so that the optimiser sees numbers near one."""
        stride = max(1, candidates.users // SAMPLE_USERS)
        values = candidates.values[:, ::stride].astype(np.float64)
        costs = candidates.costs[:, ::stride].astype(np.float64)
        positive, charged = values[np.isfinite(values)], costs[costs > 0]
        value = float(positive.mean()) if positive.size else 1.0
        cost = float(charged.mean()) if charged.size else 1.0
        scales = np.full(self.size, value)
        scales[self.ends[0] : self.ends[2]] = value / cost
        return value, scales

    def most(self, candidates: Candidates) -> np.ndarray:
        """Prices beyond which no limit needs to go: the dual of an infeasible minimum has no bottom."""
        highest = float(candidates.values.max(initial=0.0))
        most = np.full(self.size, np.inf)
        most[self.ends[2] :] = (candidates.events + 1) * max(highest, 1e-300)
        return most

    def with_net_place_prices(self, prices: np.ndarray, net: np.ndarray) -> np.ndarray:
        """Replace the prices of places and minimums by net ones, shape (events,): above zero places, below minimums."""
        capacities, budget, event_budgets, minimums, maximum_shares, minimum_shares = self.split(prices)
        capacities = np.maximum(net[self.capacities], 0.0)
        minimums = np.maximum(-net[self.minimums], 0.0)
        return np.concatenate([capacities, budget, event_budgets, minimums, maximum_shares, minimum_shares])

    def named(self, prices: np.ndarray) -> MatchingPrices:
        """The prices by limit, zero where there is none."""
        capacities, budget, event_budgets, minimums, _, _ = self.split(prices)
        events = self.limits.capacities.size

        def placed(positions: np.ndarray, part: np.ndarray) -> np.ndarray:
            full = np.zeros(events)
            full[positions] = part
            return full

        return MatchingPrices(
            budget=float(budget[0]) if self.has_budget else 0.0,
            capacities=placed(self.capacities, capacities),
            event_budgets=placed(self.event_budgets, event_budgets),
            event_minimums=placed(self.minimums, minimums),
            segments=-self.charges(prices).per_segment,
        )


@dataclass
class Usage:
    """What the users' choices at some prices add up to.

    Attributes:
        value: sum of the best values after prices.
        counts, costs: shape (events,), users and money an event takes.
        segments: shape (segments,), chosen users of a segment.
    """

    value: float
    counts: np.ndarray
    costs: np.ndarray
    segments: np.ndarray

    @classmethod
    def nothing(cls, events: int, segments: int) -> "Usage":
        """The usage of no users."""
        return cls(0.0, np.zeros(events), np.zeros(events), np.zeros(segments))

    def add(self, other: "Usage") -> None:
        """Add the usage of other users."""
        self.value += other.value
        self.counts += other.counts
        self.costs += other.costs
        self.segments += other.segments


def best_choices(candidates: Candidates, charges: Charges, users: slice) -> tuple[np.ndarray, np.ndarray]:
    """Each user's best event at these prices (-1 for none; ties go to the first event) and its value after prices."""
    reduced = charges.reduced(candidates, users)
    best = np.zeros(reduced.shape[1], dtype=reduced.dtype)
    choice = np.full(reduced.shape[1], -1, dtype=np.int16)
    for event in range(reduced.shape[0]):
        better = reduced[event] > best
        np.copyto(best, reduced[event], where=better)
        choice[better] = event
    return choice, best


def _usage_of_chunk(candidates: Candidates, charges: Charges, users: slice) -> Usage:
    """Usage of some users who choose exactly."""
    choice, best = best_choices(candidates, charges, users)
    taken = np.flatnonzero(choice >= 0)
    events = choice[taken]
    costs = candidates.chosen_costs(taken + users.start, events)
    segments = charges.per_segment.size
    return Usage(
        float(best.sum(dtype=np.float64)),
        np.bincount(events, minlength=candidates.events).astype(np.float64),
        np.bincount(events, weights=costs, minlength=candidates.events),
        np.zeros(segments)
        if candidates.segments is None
        else np.bincount(candidates.segments[users][taken], minlength=segments).astype(np.float64),
    )


def _soft_usage(candidates: Candidates, charges: Charges, temperature: float) -> Usage:
    """Usage of users who choose by a soft maximum: smooth in the prices, above the exact bound."""
    reduced = charges.reduced(candidates, slice(0, candidates.users)).astype(np.float64) / temperature
    highest = np.maximum(reduced.max(axis=0, initial=0.0), 0.0)
    weights = np.exp(reduced - highest)
    total = weights.sum(axis=0) + np.exp(-highest)
    shares = weights / total
    segments = charges.per_segment.size
    return Usage(
        float(temperature * (highest + np.log(total)).sum()),
        shares.sum(axis=1),
        (shares * candidates.costs).sum(axis=1),
        np.zeros(segments)
        if candidates.segments is None
        else np.bincount(candidates.segments, weights=shares.sum(axis=0), minlength=segments),
    )


def usage(candidates: Candidates, charges: Charges, threads: ThreadPoolExecutor | None = None) -> Usage:
    """What all users' exact choices add up to. Sums run chunk by chunk in order: threads change no digit."""
    total = Usage.nothing(candidates.events, charges.per_segment.size)
    parts = chunks(candidates.users)
    run = map if threads is None else threads.map
    for part in run(lambda users: _usage_of_chunk(candidates, charges, users), parts):
        total.add(part)
    return total


def certified_bound(candidates: Candidates, vector: PriceVector, prices: np.ndarray) -> float:
    """The upper bound at these prices, evaluated in float64 whatever the arrays are."""
    charges = vector.charges(prices)
    total = vector.constant(prices)
    for users in chunks(candidates.users):
        exact = Candidates(
            candidates.values[:, users].astype(np.float64),
            (candidates.costs if candidates.costs.shape[1] == 1 else candidates.costs[:, users]).astype(np.float64),
            None if candidates.segments is None else candidates.segments[users],
        )
        total += best_choices(exact, charges, slice(0, exact.users))[1].sum()
    return float(total)


def _lower(
    candidates: Candidates,
    vector: PriceVector,
    start: np.ndarray,
    scales: np.ndarray,
    *,
    temperature: float,
    evaluations: int,
    threads: ThreadPoolExecutor | None,
) -> np.ndarray:
    """Move the prices downhill on the (smoothed) bound; never returns prices worse than the start."""
    best_prices, best_value = start, np.inf

    def objective(scaled: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal best_prices, best_value
        prices = scaled * scales
        charges = vector.charges(prices)
        used = _soft_usage(candidates, charges, temperature) if temperature > 0 else usage(candidates, charges, threads)
        value = used.value + vector.constant(prices)
        if value < best_value:
            best_prices, best_value = prices.copy(), value
        unit = max(1.0, candidates.users) * scales.max(initial=1e-300)
        return value / unit, vector.gradient(used) * scales / unit

    minimize(
        objective,
        start / scales,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, most) for most in vector.most(candidates) / scales],
        options={"maxfun": evaluations, "maxiter": evaluations, "ftol": 1e-12, "gtol": 1e-10},
    )
    return best_prices


def solve_dual(
    candidates: Candidates, limits: Limits, vector: PriceVector, threads: ThreadPoolExecutor | None = None
) -> np.ndarray:
    """Prices at which the upper bound is lowest, as a flat vector.

    Args:
        candidates: the pairs that may be chosen.
        limits: the limits.
        vector: where each price stands in the flat vector.
        threads: evaluates the bound on several processors; None on one.
    """
    prices = np.zeros(vector.size)
    if vector.size == 0 or not (vector.gradient(usage(candidates, vector.charges(prices), threads)) < 0).any():
        return prices
    value, scales = vector.scales(candidates)
    sample, sample_vector = candidates, vector
    if candidates.users > SAMPLE_USERS:
        # A fixed seed: the sample is part of the method, not of chance.
        drawn = np.unique(np.random.default_rng(1).integers(0, candidates.users, SAMPLE_USERS))
        sample = candidates.subset(drawn)
        sample_vector = vector.under(limits.scaled(drawn.size / candidates.users))
    is_whole = sample is candidates
    for temperature in TEMPERATURES if is_whole else SAMPLE_TEMPERATURES:
        prices = _lower(
            sample,
            sample_vector,
            prices,
            scales,
            temperature=temperature * value,
            evaluations=60 if is_whole else 40,
            threads=None,
        )
    evaluations = 40 if is_whole else 12
    return _lower(candidates, vector, prices, scales, temperature=0.0, evaluations=evaluations, threads=threads)
