"""The CDNOW sample of Fader and Hardie: 2,357 customers of early 1997, from the data of the package lifetimes."""

import importlib.util
from pathlib import Path

import pandas as pd

CALIBRATION_ENDS = pd.Timestamp("1997-09-30")
HOLDOUT_ENDS = pd.Timestamp("1998-06-30")


def data_folder() -> Path:
    """Where the package keeps its data."""
    found = importlib.util.find_spec("lifetimes")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "datasets"


def purchase_days() -> pd.DataFrame:
    """One row per customer and day with a purchase: customer, date, amount."""
    log = pd.read_csv(
        data_folder() / "CDNOW_sample.txt",
        sep=r"\s+",
        header=None,
        names=["master_id", "customer", "date", "cds", "amount"],
        dtype={"customer": str, "date": str},
    )
    log["date"] = pd.to_datetime(log["date"])
    return log.groupby(["customer", "date"], as_index=False)["amount"].sum()


def calibration() -> pd.DataFrame:
    """One row per customer: x, t_x, T in weeks, z (mean repeat amount), holdout (purchases after the calibration)."""
    days = purchase_days()
    seen = days[days["date"] <= CALIBRATION_ENDS]
    customers = seen.groupby("customer")["date"].agg(first="min", last="max", count="count")
    repeats = seen[seen["date"] > seen["customer"].map(customers["first"])]
    later = days[(days["date"] > CALIBRATION_ENDS) & (days["date"] <= HOLDOUT_ENDS)]
    return pd.DataFrame(
        {
            "x": customers["count"] - 1.0,
            "t_x": (customers["last"] - customers["first"]).dt.days / 7,
            "T": (CALIBRATION_ENDS - customers["first"]).dt.days / 7,
            "z": repeats.groupby("customer")["amount"].mean(),
            "holdout": later.groupby("customer").size(),
        },
        index=customers.index,
    ).fillna({"holdout": 0})


def summary() -> pd.DataFrame:
    """The summary that the papers on MBG/NBD used: x, t_x, T with weeks rounded to two digits."""
    frame = pd.read_csv(data_folder() / "cdnow_customers_summary.csv")
    return frame.rename(columns={"frequency": "x", "recency": "t_x"})
