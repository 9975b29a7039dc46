"""Hold effects against IHDP (Hill 2011): `python -m tests.published.ihdp <folder with ihdp_npci_1.csv ... _9.csv>`.

The nine files (treatment, outcome, counterfactual, mu0, mu1, 25 covariates; no header) lie in causalml's repository
(docs/examples/data). No package on PyPI holds them, so no test can need them; docs/methods/effects.md has the figures.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold

from ml.response.learned_effects import KINDS, fit_effect
from ml.response.learners import BoostedLearner, BoostingSettings, Kind, Learner, LinearLearner
from tests.published.test_causal_studies import adjusted_cell

FILES = 9
# Nearly noiseless outcomes and 747 rows bear more trees than marketing's data.
SETTINGS = BoostingSettings(iterations=600)


def boosted(kind: Kind) -> Learner:
    """A fresh boosted learner."""
    return BoostedLearner(kind, settings=SETTINGS, thread_count=1, random_state=0)


def expected_without(features: pd.DataFrame, outcome: np.ndarray, is_treated: np.ndarray) -> np.ndarray:
    """What is expected of each row without treatment, by models of the untreated that have not seen the row."""
    expected = boosted("difference").fit(features[~is_treated], outcome[~is_treated]).predict(features)
    for learned, asked in KFold(5, shuffle=True, random_state=0).split(features):
        untreated, held_out = learned[~is_treated[learned]], asked[~is_treated[asked]]
        model = boosted("difference").fit(features.iloc[untreated], outcome[untreated])
        expected[held_out] = model.predict(features.iloc[held_out])
    return expected


def main(folder: Path) -> None:
    """Print the effect on the treated with its interval by file, and each learner's root of PEHE, mean of nine."""
    errors: dict[str, list[float]] = defaultdict(list)
    for number in range(1, FILES + 1):
        data = pd.read_csv(folder / f"ihdp_npci_{number}.csv", header=None).to_numpy()
        is_treated, outcome, truth = data[:, 0] == 1, data[:, 1], data[:, 4] - data[:, 3]
        features = pd.DataFrame(data[:, 5:], columns=[f"x{column}" for column in range(1, 26)])
        cell = adjusted_cell(is_treated, outcome, features)
        print(
            f"file {number}: truth {truth[is_treated].mean():.3f}, adjusted {cell.effect:.3f} "
            f"({cell.low:.3f} to {cell.high:.3f}), naive {outcome[is_treated].mean() - outcome[~is_treated].mean():.3f}"
        )
        plain = [
            LinearRegression().fit(features[arm], outcome[arm]).predict(features) for arm in (is_treated, ~is_treated)
        ]
        found = {"T-learner, least squares (published 1.932)": plain[0] - plain[1]}
        propensity = LinearLearner("chance").fit(features, is_treated.astype(float)).predict(features)
        expected = expected_without(features, outcome, is_treated)
        for kind in KINDS:
            effect = fit_effect(kind, features, outcome, is_treated, propensity, expected, "difference", boosted)
            found[f"{kind.upper()}-learner, CatBoost"] = effect.predict(features)
        for name, effects in found.items():
            errors[name].append(float(np.sqrt(np.mean((effects - truth) ** 2))))
    for name, roots in errors.items():
        print(f"{name}: {np.mean(roots):.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
