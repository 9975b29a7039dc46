"""How well the grocer's later campaigns are foretold: `python -m tests.benchmarks.bench_complete_journey`.

Lands the sample, builds its features, learns from moments before 2017-09-01 and predicts those after it, whose
campaigns and weeks nothing has seen. Two questions: does an inactive household come back within the return window
(every moment, mailed or not), and is a mailed household going to redeem a coupon (every exposure, active or not)? Area
under the ROC curve and average precision, with 95 % intervals from a bootstrap of households, beside the base rate, by
type of campaign. The peer is what chance gives: .5, and the base rate.
"""

import argparse
import tempfile
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from local.chain import run_chain
from local.postgres import EmbeddedPostgres
from local.samples import complete_journey
from ml.pipelines.reading import FeatureCatalogue, read_training_rows
from ml.response import Examples, ReturnModel
from ml.response.baseline import Baseline, select_baseline
from warehouse.door import Warehouse
from warehouse.migrations import migrate
from warehouse.settings import Settings, load_settings

SPLIT = date(2017, 9, 1)
DRAWS = 500


def main() -> None:
    """Build, learn, predict, print."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None).parse_args()
    with tempfile.TemporaryDirectory(prefix="rekindle-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        server = EmbeddedPostgres(folder / "postgres")
        server.start()
        try:
            warehouse = Warehouse(prepare(folder, server).warehouse_url)
            print(f"learned before {SPLIT}, tested from then on; 95 % intervals, {DRAWS} bootstraps of households")
            print(f"{'outcome':<28}{'type':<18}{'rows':>7}{'base rate':>11}   {'ROC AUC':<22}{'average precision':<22}")
            report("return of inactive", *returns(warehouse))
            report("coupon redeemed", *redemptions(warehouse))
        finally:
            server.remove()


def prepare(folder: Path, server: EmbeddedPostgres) -> Settings:
    """Write and land the sample, build its features."""
    complete_journey.write_source(folder / "source")
    server.ensure_database("grocer")
    settings = replace(
        load_settings(folder / "source"),
        warehouse_url=server.url("grocer"),
        state_folder=folder / "state",
        tracking_uri="",
        source=str(folder / "source"),
    )
    migrate(settings.warehouse_url)
    run_chain(settings, complete_journey.DEFAULT_AS_OF, until="build_features")
    return settings


def returns(warehouse: Warehouse) -> tuple[Examples, np.ndarray]:
    """Later moments of inactive households with the chance to return."""
    examples = read_training_rows(warehouse, complete_journey.DEFAULT_AS_OF).returns()
    is_later = examples.reference_days >= day_of(SPLIT)
    # A return window that reaches into the test period would tell of it.
    taught = examples.reference_days < day_of(SPLIT) - 14
    model = ReturnModel(thread_count=2).fit(examples.take(taught))
    print(f"return: {int(taught.sum())} moments taught, effect of campaigns: {model.uplift_.chosen}")
    tell(model.baseline_)
    later = examples.take(is_later)
    return later, model.predict_examples(later)


def redemptions(warehouse: Warehouse) -> tuple[Examples, np.ndarray]:
    """Later exposures of all households with the chance to redeem a coupon."""
    catalogue = FeatureCatalogue.read(warehouse)
    selected, joined = catalogue.joins("examples", with_event_features=True)
    rows = warehouse.read_frame(
        "select examples.user_id, examples.event_type, examples.as_of_date, examples.has_responded"
        f"{selected} from features.training_examples as examples {joined}"
        " where examples.arm = 'treated' and examples.has_responded is not null order by examples.example_id"
    )
    features = rows[[*catalogue.user_names, *catalogue.event_names, "event_type"]]
    count = len(rows)
    examples = Examples(
        features=features,
        event_features=pd.DataFrame(index=range(count)),
        user_ids=rows["user_id"].to_numpy(dtype=object),
        event_types=rows["event_type"].to_numpy(dtype=object),
        is_exposed=np.ones(count, dtype=bool),
        assignment_probability=np.full(count, np.nan),
        reference_days=rows["as_of_date"].to_numpy().astype("datetime64[D]").astype(np.int64),
        outcome=rows["has_responded"].astype(float).to_numpy(),
    )
    is_later = examples.reference_days >= day_of(SPLIT)
    taught = examples.take(~is_later)
    model = select_baseline("chance", taught, np.ones(len(taught)), thread_count=2)
    print(f"redemption: {len(taught)} exposures taught")
    tell(model)
    later = examples.take(is_later)
    return later, model.predict(later.features)


def tell(baseline: Baseline) -> None:
    """Print how the candidates did on later rows of other users, within the rows taught."""
    compared = baseline.comparison
    if compared is not None:
        losses = ", ".join(
            f"{name} {loss:.4f} (+{compared.differences[name]:.4f}, se {compared.standard_errors[name]:.4f})"
            for name, loss in compared.losses.items()
        )
        print(f"  chosen {compared.chosen}; log loss {losses}")


def report(outcome: str, later: Examples, chance: np.ndarray) -> None:
    """Print a line for all later rows and one for each type of campaign."""
    kinds = ["all", *sorted({str(kind) for kind in later.event_types})]
    for kind in kinds:
        rows = np.ones(len(later), dtype=bool) if kind == "all" else later.event_types == kind
        happened, said, users = later.outcome[rows], chance[rows], later.user_ids[rows]
        line = f"{outcome:<28}{kind or 'no campaign':<18}{rows.sum():>7}{happened.mean():>11.3f}   "
        if not 0 < happened.sum() < len(happened):
            print(f"{line}one outcome only: nothing can be ranked")
            continue
        figures = {"auc": roc_auc_score, "precision": average_precision_score}
        low_high = {name: bootstrap(figure, happened, said, users) for name, figure in figures.items()}
        for name, figure in figures.items():
            low, high = low_high[name]
            line += f"{figure(happened, said):.3f} ({low:.3f} to {high:.3f})".ljust(22)
        print(line)


def bootstrap(figure: object, happened: np.ndarray, said: np.ndarray, users: np.ndarray) -> tuple[float, float]:
    """95 % interval of a figure when households are drawn again; draws with one outcome only are left out."""
    assert callable(figure)
    codes = np.unique(users.astype(str), return_inverse=True)[1]
    draw = np.random.default_rng(0)
    found = []
    for _ in range(DRAWS):
        weight = draw.poisson(1.0, codes.max() + 1)[codes].astype(float)
        kept = weight > 0
        if 0 < happened[kept].sum() < kept.sum():
            found.append(figure(happened[kept], said[kept], sample_weight=weight[kept]))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def day_of(day: date) -> int:
    """Days since 1970-01-01."""
    return int(np.datetime64(day, "D").astype(np.int64))


if __name__ == "__main__":
    main()
