"""Purchase histories as buy-till-you-die models read them: (x, t_x, T), with equal histories grouped."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ml.value.errors import ValueModelError

# Keys of groups are packed into 62 bits; beyond that the three columns are numbered first.
_LARGEST_KEY = 2**62
# Half as wide keys are sorted in half the time.
_LARGEST_NARROW_KEY = 2**31
# Whole numbers up to this are their own code.
_MOST_CODES = 20_000


@dataclass(frozen=True)
class PurchaseGroups:
    """Distinct histories and how many customers share each; every array has shape (groups,).

    Attributes:
        x: number of repeat purchases (the first purchase is not counted).
        t_x: age of the customer at the last repeat purchase, 0 when there was none.
        T: age of the customer (time since the first purchase) at the end of the observation.
        customers: number of customers with this history.
        unit: models read t_x and T as multiples of this, so that parameters stay near 1 whatever they are counted in.
    """

    x: np.ndarray
    t_x: np.ndarray
    T: np.ndarray
    customers: np.ndarray
    unit: float = 1.0

    @property
    def total(self) -> float:
        """Number of customers."""
        return float(self.customers.sum())

    def scaled(self, unit: float) -> "PurchaseGroups":
        """The same histories, to be read in `unit` of what they are read in now."""
        return replace(self, unit=self.unit * unit)

    def take(self, rows: slice) -> "PurchaseGroups":
        """Some of the histories."""
        return replace(self, x=self.x[rows], t_x=self.t_x[rows], T=self.T[rows], customers=self.customers[rows])


def check_purchases(x: ArrayLike, t_x: ArrayLike, T: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three columns as float64 of shape (customers,), or a ValueModelError that says what is wrong."""
    columns = [np.atleast_1d(np.asarray(column, dtype=float)) for column in (x, t_x, T)]
    count = max(column.size for column in columns)
    try:
        counts, recency, age = (np.broadcast_to(column, (count,)) for column in columns)
    except ValueError:
        sizes = ", ".join(str(column.size) for column in columns)
        raise ValueModelError(f"Give x, t_x and T for the same customers; their lengths are {sizes}.") from None
    if count == 0:
        return counts, recency, age
    # Comparisons with NaN are false, so each test finds gaps as well.
    if not (counts.min() >= 0 and counts.max() < np.inf):
        raise ValueModelError("Give x as the number of repeat purchases: at least 0, without gaps.")
    if not (recency.min() >= 0 and (recency <= age).all() and age.max() < np.inf):
        raise ValueModelError("Give t_x and T with 0 <= t_x <= T, without gaps.")
    if ((counts == 0) & (recency > 0)).any():
        raise ValueModelError("Set t_x to 0 where x is 0: without a repeat purchase there is no last one.")
    return counts, recency, age


def group_purchases(x: ArrayLike, t_x: ArrayLike, T: ArrayLike) -> PurchaseGroups:
    """Distinct histories with their number of customers: the likelihood needs no more than that."""
    columns = check_purchases(x, t_x, T)
    keys, codes, sizes = _keys(columns)
    ordered = np.sort(keys)
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if ordered.size else np.empty(0, int)
    customers = np.diff(np.concatenate([starts, [ordered.size]])).astype(float)
    return PurchaseGroups(*_unpack(ordered[starts], codes, sizes), customers)


def distinct(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values (each once; of whole numbers perhaps some that do not occur), and for each entry which of them it is."""
    if values.size and values.min() >= 0 and values.max() <= _MOST_CODES:
        whole = values.astype(np.int32)
        if (whole == values).all():
            return np.arange(whole.max() + 1.0), whole
    members, found = pd.factorize(values)
    return np.asarray(found), members


def group_with_members(
    x: ArrayLike, t_x: ArrayLike, T: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Distinct (x, t_x, T) and, for each customer, which of them is theirs."""
    columns = check_purchases(x, t_x, T)
    keys, codes, sizes = _keys(columns)
    members, distinct = pd.factorize(keys)
    return (*_unpack(distinct, codes, sizes), members)


def _keys(
    columns: tuple[np.ndarray, ...],
) -> tuple[np.ndarray, list[np.ndarray | None], list[int]]:
    """A whole number that tells a customer's history, what stands behind each of its parts, and their sizes."""
    parts: list[np.ndarray] = []
    codes: list[np.ndarray | None] = []
    for column in columns:
        # Whole days are their own code; anything else is numbered.
        if column.size and column.max() < 2**31 and ((whole := column.astype(np.int32)) == column).all():
            parts.append(whole)
            codes.append(None)
        else:
            numbers, values = pd.factorize(column)
            parts.append(numbers.astype(np.int32))
            codes.append(np.asarray(values))
    sizes = [int(part.max()) + 1 if part.size else 1 for part in parts]
    if float(sizes[0]) * sizes[1] * sizes[2] >= _LARGEST_KEY:
        for position, part in enumerate(parts):
            held = codes[position]
            numbers, values = pd.factorize(part)
            codes[position] = np.asarray(values if held is None else held[values], dtype=float)
            parts[position] = numbers.astype(np.int32)
        sizes = [int(part.max()) + 1 for part in parts]
    if float(sizes[0]) * sizes[1] * sizes[2] >= _LARGEST_NARROW_KEY:
        parts = [part.astype(np.int64) for part in parts]
    return (parts[0] * sizes[1] + parts[1]) * sizes[2] + parts[2], codes, sizes


def _unpack(
    keys: np.ndarray, codes: list[np.ndarray | None], sizes: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rest, last = np.divmod(keys, sizes[2])
    first, middle = np.divmod(rest, sizes[1])
    x, t_x, T = (
        part.astype(float) if code is None else code[part]
        for part, code in zip((first, middle, last), codes, strict=True)
    )
    return x, t_x, T
