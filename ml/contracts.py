"""What crosses from SQL to Python and from one room of `ml` to another: frozen dataclasses, no behaviour."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class StageReport:
    """What a stage of the chain did, for the log, the terminal and the asset event it emits.

    Attributes:
        stage: name of the stage, for example "score_users".
        as_of_date: the date the stage was run for.
        rows: rows the stage wrote.
        messages: sentences a person should read (what was missing, what was skipped and why).
        details: figures worth showing beside the rows.
    """

    stage: str
    as_of_date: date
    rows: int
    messages: tuple[str, ...] = ()
    details: Mapping[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True)
class ResponseMatrix:
    """Chances and money for every inactive user and every open event of one `as_of_date`.

    Arrays are of floats and of shape (users, events) unless said otherwise; a row belongs to `user_ids[row]`, a column
    to `events.event_id[column]`. `p_return_if_not_contacted` and what follows from it do not depend on the event and
    have shape (users,). `events` has the columns of `features.open_events` and `evidence` (randomised, adjusted,
    insufficient), in the order of event_id. `uplift_low` and `uplift_high` are the 95 % interval of p_return -
    p_return_if_not_contacted where somebody asked for it, else NaN or None. `value_of_a_return` is what a return is
    credited with beyond the horizon, shape (users,). `channel_factors` says how much of an effect arrives over a
    channel, where that is known; chances hold for the user's best channel by these.
    """

    as_of_date: date
    user_ids: np.ndarray
    events: pd.DataFrame
    p_return: np.ndarray
    p_return_if_not_contacted: np.ndarray
    p_conversion: np.ndarray
    p_conversion_if_not_contacted: np.ndarray
    revenue: np.ndarray
    revenue_if_not_contacted: np.ndarray
    model_version: str
    uplift_low: np.ndarray | None = None
    uplift_high: np.ndarray | None = None
    value_of_a_return: np.ndarray | None = None
    channel_factors: Mapping[str, float] = field(default_factory=dict)
