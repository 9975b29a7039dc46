"""Effects of 1M exposures, 6 event types x 8 segments, against statsmodels: `python -m tests.benchmarks.bench_effects`.

`--features 150` gives every exposure as many features as users have in the product; the time is theirs mostly.
Randomised: every cell's weighted difference with errors clustered by user, here with and in statsmodels (weighted least
squares, cluster-robust) without the help of a covariate. Adjusted: the doubly robust estimate of every cell, against
statsmodels' TreatmentEffect.aipw without its standard errors (they take minutes), which fits its models anew in each
cell and on the very rows it predicts. The peer answers for one outcome by segment, this room for two outcomes and four
scopes, so the ratio is that of the time an effect takes.
"""

import argparse
import time

import numpy as np
import pandas as pd
import statsmodels.api as sm
from statsmodels.discrete.discrete_model import Logit
from statsmodels.treatment.treatment_effects import TreatmentEffect

from ml.effects import CellEffect, Exposures, correct_cells, measure_cells

ROWS, TYPES, SEGMENTS = 1_000_000, 6, 8
EFFECT = 0.05


def make_types(random: np.random.Generator, feature_count: int, *, is_randomised: bool) -> list[Exposures]:
    """Draw the exposures of each type: activity is skewed, some users are exposed several times."""
    types = []
    for number in range(TYPES):
        rows = ROWS // TYPES
        features = random.normal(size=(rows, feature_count))
        pull = features[:, 0] + 0.5 * features[:, 1]
        chance = np.full(rows, 0.5) if is_randomised else 1 / (1 + np.exp(-(0.6 * pull - 0.3)))
        is_exposed = random.random(rows) < chance
        returned = random.random(rows) < np.clip(0.25 + 0.06 * pull + EFFECT * is_exposed, 0, 1)
        frame = pd.DataFrame(features, columns=[f"feature_{column}" for column in range(feature_count)])
        frame["payments"] = np.exp(features[:, 2] * 1.5)
        types.append(
            Exposures(
                event_type=f"type {number}",
                user_ids=np.char.add("u", random.integers(0, 4 * rows, rows).astype(str)).astype(object),
                event_ids=np.char.add("e", random.integers(0, 10, rows).astype(str)).astype(object),
                channels=np.full(rows, "email", dtype=object),
                segments=np.char.add("s", random.integers(0, SEGMENTS, rows).astype(str)).astype(object),
                is_exposed=is_exposed,
                assignment_probability=chance if is_randomised else np.full(rows, np.nan),
                outcomes={"return": returned.astype(float), "revenue": returned * random.exponential(20.0, rows)},
                costs=is_exposed * 0.1,
                features=frame,
            )
        )
    return types


def segment_returns(cells: list[CellEffect]) -> dict[tuple[str, str], CellEffect]:
    """The effect on the return in each type x segment."""
    return {(c.event_type, c.segment): c for c in cells if c.scope == "segment" and c.outcome == "return"}


def peer_randomised(types: list[Exposures]) -> dict[tuple[str, str], float]:
    """Weighted least squares of the return on exposure in each cell, errors clustered by user."""
    found = {}
    for rows in types:
        for segment in np.unique(rows.segments):
            cell = rows.take(rows.segments == segment)
            weights = np.where(cell.is_exposed, 1 / cell.assignment_probability, 1 / (1 - cell.assignment_probability))
            groups = pd.factorize(cell.user_ids)[0]
            model = sm.WLS(cell.outcomes["return"], sm.add_constant(cell.is_exposed.astype(float)), weights=weights)
            fit = model.fit(cov_type="cluster", cov_kwds={"groups": groups})
            assert fit.bse[1] > 0
            found[rows.event_type, segment] = float(fit.params[1])
    return found


def peer_adjusted(types: list[Exposures]) -> dict[tuple[str, str], float]:
    """Augmented inverse-probability weighting of each cell by statsmodels."""
    found = {}
    for rows in types:
        for segment in np.unique(rows.segments):
            cell = rows.take(rows.segments == segment)
            design = sm.add_constant(cell.features.to_numpy())
            exposed = cell.is_exposed.astype(float)
            chosen = Logit(exposed, design).fit(disp=0)
            outcome = sm.OLS(cell.outcomes["return"], design)
            effect = TreatmentEffect(outcome, exposed, results_select=chosen).aipw(return_results=False)
            found[rows.event_type, segment] = float(np.ravel(effect)[0])
    return found


def main() -> None:
    """Time both ways and both peers and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, default=12)
    parser.add_argument("--without-peers", action="store_true")
    options = parser.parse_args()
    random = np.random.default_rng(1)
    for name, is_randomised, peer in (
        ("randomised", True, peer_randomised),
        ("adjusted", False, peer_adjusted),
    ):
        types = make_types(random, options.features, is_randomised=is_randomised)
        started = time.perf_counter()
        cells = correct_cells([cell for rows in types for cell in measure_cells(rows)])
        ours = time.perf_counter() - started
        found = segment_returns(cells)
        assert {cell.evidence for cell in found.values()} == {name}
        covered = np.mean([cell.low <= EFFECT <= cell.high for cell in found.values()])
        said = (
            f"{name}: {len(cells)} effects of {ROWS:,} rows with {options.features} features in {ours:.1f} s; "
            f"{covered:.0%} of intervals hold the truth"
        )
        if options.without_peers:
            print(said)
            continue
        started = time.perf_counter()
        others = peer(types)
        theirs = time.perf_counter() - started
        off = max(
            abs(float(cell.diagnostics.get("unshrunk_effect", cell.effect)) - others[key]) / cell.error
            for key, cell in found.items()
        )
        print(
            f"{said}; statsmodels {len(others)} effects in {theirs:.1f} s; time an effect "
            f"{theirs / len(others) / (ours / len(cells)):.1f} times ours; largest difference {off:.2f} standard errors"
        )


if __name__ == "__main__":
    main()
