"""Reads how active users answered invitations: what a taste for a type of event is learned from."""

from datetime import date

import numpy as np
import pandas as pd

from ml.pipelines.reading import FeatureCatalogue
from ml.response import Examples
from warehouse.door import Warehouse

__all__ = ["read_answers"]

# So many answers settle a taste; more would only cost memory.
_MOST = 60_000


def read_answers(warehouse: Warehouse, as_of_date: date, *, most: int = _MOST) -> Examples:
    """Read invitations of users who were active then, with 1 where the user took part within the return window.

    Of more than `most` a part is drawn by a hash of their id. Rows are sorted by example_id.
    """
    catalogue = FeatureCatalogue.read(warehouse)
    selected, joined = catalogue.joins("examples", with_event_features=True)
    frame = warehouse.read_frame(
        "with examples as (select * from features.training_examples"
        " where not is_inactive and arm = 'treated' and return_known_at <= %(as_of_date)s"
        " order by md5(example_id), example_id limit %(most)s)"
        " select examples.user_id, examples.event_type, examples.as_of_date, examples.has_responded"
        f"{selected} from examples {joined}"
        ' order by examples.example_id collate "C"',
        {"as_of_date": as_of_date, "most": most},
    )
    rows = len(frame)
    return Examples(
        features=frame[catalogue.user_names],
        event_features=frame[catalogue.event_names],
        user_ids=frame["user_id"].to_numpy(dtype=object),
        event_types=frame["event_type"].astype(object).to_numpy(dtype=object),
        is_exposed=np.ones(rows, dtype=bool),
        assignment_probability=np.full(rows, np.nan),
        reference_days=pd.to_datetime(frame["as_of_date"]).to_numpy().astype("datetime64[D]").astype(np.int64),
        outcome=frame["has_responded"].astype(bool).to_numpy(dtype=np.float64),
    )
