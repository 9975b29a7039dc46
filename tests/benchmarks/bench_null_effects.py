"""A/A: are effects found where there are none? `python -m tests.benchmarks.bench_null_effects [--runs 200]`.

Takes past moments with known effects, deals the invitations anew within each type of event, so that nothing they say of
the outcome is left, and teaches the whole return model: candidates of the baseline, calibration, slopes, means by type,
challengers. Counts how often "none" is kept, and how many of the reported intervals hold zero - of each user and type,
and of the mean user of each type. The peer is an interval of the plain difference of means of each type.

Runs are kept in `--output`, one a line, and are not done again: an interrupted benchmark goes on where it was.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from ml.response import Examples, ReturnModel
from tests.ml.response.worlds import make_world

TYPES = ("bonus", "contest", "story")
TWO_SIDED_95 = 1.959964


def shuffled(examples: Examples, seed: int) -> Examples:
    """The same moments with the invitations of each type dealt anew."""
    draw, dealt = np.random.default_rng(seed), examples.take(np.arange(len(examples)))
    for name in TYPES:
        rows = np.flatnonzero(dealt.event_types == name)
        dealt.is_exposed[rows] = dealt.is_exposed[draw.permutation(rows)]
    return dealt


def play(examples: Examples, seed: int) -> dict[str, Any]:
    """One run: what was chosen, and the share of intervals that hold zero."""
    dealt, started = shuffled(examples, seed), time.process_time()
    model = ReturnModel(random_state=seed).fit(dealt)
    users, mean_users, means = [], [], []
    alone = model.predict_baseline(dealt.features)
    for name in TYPES:
        told = model.predict(dealt.features, dealt.event_features, name, alone)
        users.append(((told.uplift_low <= 0) & (told.uplift_high >= 0)).mean())
        mean_users.append(bool(told.uplift_low.mean() <= 0 <= told.uplift_high.mean()))
        rows = dealt.event_types == name
        sides = [dealt.outcome[rows & (dealt.is_exposed == invited)] for invited in (True, False)]
        error = np.sqrt(sum(side.var(ddof=1) / len(side) for side in sides))
        means.append(bool(abs(sides[0].mean() - sides[1].mean()) <= TWO_SIDED_95 * error))
    return {
        "seed": seed,
        "chosen": model.uplift_.chosen,
        "users": float(np.mean(users)),
        "mean_users": mean_users,
        "means": means,
        "seconds": time.process_time() - started,
    }


def main() -> None:
    """Play the runs that are not there yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--rows", type=int, default=8000)
    parser.add_argument("--output", type=Path, help="where runs are kept; default: forgotten at the end")
    arguments = parser.parse_args()
    output = arguments.output or Path(os.devnull)
    kept = [json.loads(line) for line in output.read_text().splitlines()] if output.exists() else []
    done = {run["seed"]: run for run in kept if run["rows"] == arguments.rows}
    examples = make_world(arguments.rows, seed=7, share_exposed=0.5).examples
    for seed in range(arguments.runs):
        if seed not in done:
            done[seed] = {**play(examples, seed), "rows": arguments.rows}
            with output.open("a") as lines:
                lines.write(json.dumps(done[seed]) + os.linesep)
    runs = [done[seed] for seed in range(arguments.runs)]
    none = np.mean([run["chosen"] == "none" for run in runs])
    print(
        f"{len(runs)} runs of {arguments.rows:,} moments, {np.sum([run['seconds'] for run in runs]):.0f} s of processor"
    )
    print(f"'none' kept:                                    {none:.1%}")
    print(f"intervals of a user and type that hold zero:    {np.mean([run['users'] for run in runs]):.2%}")
    print(f"runs and types whose mean interval holds zero:  {np.mean([run['mean_users'] for run in runs]):.2%}")
    print(f"the same of a plain difference of means (peer): {np.mean([run['means'] for run in runs]):.2%}")


if __name__ == "__main__":
    main()
