"""Matching against HiGHS and PDLP: `python -m tests.benchmarks.bench_matching [--with-ten-million]`.

Prints seconds, certified gap and memory of the matching, beside seconds and value of HiGHS' exact solver (scipy) and
of PDLP, the first-order method for large linear programs (Applegate et al. 2021; the one that comes with scipy's
HiGHS), on the same problem where they end within their time limit, and the ratios. PDLP solves the relaxation without
whole users: its value is a bound, not a plan. Median of three runs up to 1M users, one run above.
"""

import argparse
import resource
import statistics
import time

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.optimize._highspy import _core
from scipy.sparse import csr_array, csr_matrix, identity, kron, vstack

from ml.matching import MatchingProblem, solve_matching

EVENTS = 8
SHARES = np.array([0.05, 0.02, 0.1, 0.2, 0.01, 0.03, 0.04, 0.05])
SOLVER_SECONDS = 60


def problem_of(users: int) -> MatchingProblem:
    """Gamma values of which about half are below zero, costs of .2 to 1.5, places for half and money for a quarter."""
    random = np.random.default_rng(0)
    values = random.standard_gamma(1.0, (EVENTS, users), dtype=np.float32) - np.float32(0.6)
    costs = random.random((EVENTS, users), dtype=np.float32) * np.float32(1.3) + np.float32(0.2)
    return MatchingProblem(values.T, costs=costs.T, capacities=np.floor(SHARES * users), budget=0.15 * users)


def limits_of(problem: MatchingProblem) -> tuple[csr_array, np.ndarray]:
    """The limits as rows over all pairs and their right hand sides: one event a user, places, money."""
    users, events = problem.values.shape
    rows = [
        kron(identity(users), np.ones((1, events))),
        kron(np.ones((1, users)), identity(events)),
        csr_matrix(problem.costs.reshape(1, -1).astype(np.float64)),
    ]
    return vstack(rows).tocsr(), np.concatenate([np.ones(users), problem.capacities, [problem.budget]])


def pdlp(problem: MatchingProblem) -> tuple[float, float | None]:
    """Seconds and value of PDLP at its default accuracy, None if it did not get there in time."""
    matrix, most = limits_of(problem)
    columns = matrix.tocsc()
    program = _core.HighsLp()
    program.num_row_, program.num_col_ = columns.shape
    program.col_cost_ = -problem.values.ravel().astype(np.float64)
    program.col_lower_ = np.zeros(columns.shape[1])
    program.col_upper_ = (problem.values.ravel() > 0).astype(float)
    program.row_lower_ = np.full(columns.shape[0], -np.inf)
    program.row_upper_ = most
    program.a_matrix_.format_ = _core.MatrixFormat.kColwise
    program.a_matrix_.start_ = columns.indptr.astype(np.int32)
    program.a_matrix_.index_ = columns.indices.astype(np.int32)
    program.a_matrix_.value_ = columns.data
    options = _core.HighsOptions()
    options.solver, options.time_limit, options.output_flag = "pdlp", float(SOLVER_SECONDS), False
    solver = _core._Highs()
    solver.passOptions(options)
    solver.passModel(program)
    start = time.perf_counter()
    solver.run()
    seconds = time.perf_counter() - start
    value = -solver.getInfo().objective_function_value
    return seconds, value if value > 0 else None


def highs(problem: MatchingProblem) -> tuple[float, float | None]:
    """Seconds and value of HiGHS, None if it found nothing in time."""
    matrix, most = limits_of(problem)
    start = time.perf_counter()
    found = milp(
        -problem.values.ravel().astype(np.float64),
        integrality=np.ones(problem.values.size),
        bounds=Bounds(0, (problem.values.ravel() > 0).astype(float)),
        constraints=LinearConstraint(matrix, -np.inf, most),
        options={"time_limit": SOLVER_SECONDS, "mip_rel_gap": 1e-4},
    )
    return time.perf_counter() - start, None if found.x is None else -found.fun


def main() -> None:
    """Run the sizes and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--with-ten-million", action="store_true")
    sizes = [1_000, 10_000, 50_000, 1_000_000]
    if parser.parse_args().with_ten_million:
        sizes.append(10_000_000)
    for users in sizes:
        problem = problem_of(users)
        seconds = []
        for _ in range(3 if users <= 1_000_000 else 1):
            start = time.perf_counter()
            plan = solve_matching(problem)
            seconds.append(time.perf_counter() - start)
        ours = statistics.median(seconds)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        line = f"{users:>10,} users x {EVENTS}: {ours:.2f} s, gap {plan.gap:.1e}, peak {memory:.2f} GB"
        if users <= 50_000:
            for name, solve in (("HiGHS", highs), ("PDLP", pdlp)):
                its_seconds, its_value = solve(problem)
                found = "nothing in time" if its_value is None else f"value {its_value / plan.value:.6f} of ours"
                line += f"; {name} {its_seconds:.1f} s ({found}), {its_seconds / ours:.1f} times as long"
        print(line, flush=True)


if __name__ == "__main__":
    main()
