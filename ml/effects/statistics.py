"""Sufficient statistics of exposed against control rows: they add up, and every estimate needs only them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ml.effects.errors import EffectsError


@dataclass(frozen=True, eq=False)
class EffectStatistic:
    """Weighted sums and cross products of exposed and control rows of one cell, clustered by user.

    A user's rows are first added up (weight, and weight times each variable, by arm), then squared: so a user who was
    exposed five times counts as one independent piece of information and not as five.

    Attributes:
        variables: names of the variables, in the order of the columns.
        exposed, controls: rows of each arm.
        totals: shape (2, 1 + variables): sum of weights and weighted sums; row 0 exposed, row 1 control.
        products: shape (2 (1 + variables), 2 (1 + variables)): sum over users of the outer product of the user's own
            totals, exposed block first.
    """

    variables: tuple[str, ...]
    exposed: int
    controls: int
    totals: np.ndarray
    products: np.ndarray

    def __post_init__(self) -> None:
        width = 1 + len(self.variables)
        if self.totals.shape != (2, width) or self.products.shape != (2 * width, 2 * width):
            raise EffectsError(f"Statistics of {len(self.variables)} variables need totals of shape (2, {width}).")

    def __add__(self, other: EffectStatistic) -> EffectStatistic:
        """Join two parts, such as two days or two strata.

        The parts are taken to be of different users; a user in both counts as two, which narrows the interval a little.
        """
        if self.variables != other.variables:
            raise EffectsError("Only statistics of the same variables add up.")
        return EffectStatistic(
            variables=self.variables,
            exposed=self.exposed + other.exposed,
            controls=self.controls + other.controls,
            totals=self.totals + other.totals,
            products=self.products + other.products,
        )

    def position(self, variable: str) -> int:
        """Column of a variable within an arm's block (column 0 holds the weight)."""
        if variable not in self.variables:
            raise EffectsError(f"The statistics hold no variable {variable!r}, only {', '.join(self.variables)}.")
        return 1 + self.variables.index(variable)

    def mean(self, variable: str, *, is_exposed: bool) -> float:
        """Weighted mean of a variable in one arm; NaN where the arm is empty."""
        totals = self.totals[0 if is_exposed else 1]
        return float(totals[self.position(variable)] / totals[0]) if totals[0] > 0 else float("nan")

    def effective_users(self, *, is_exposed: bool) -> float:
        """Users that equal weights would need for the same precision (Kish 1965): (sum w)^2 / sum w^2, by user."""
        block = 0 if is_exposed else 1
        offset = block * (1 + len(self.variables))
        squares = self.products[offset, offset]
        return float(self.totals[block, 0] ** 2 / squares) if squares > 0 else 0.0


def statistics_by_cell(
    cells: np.ndarray,
    cell_count: int,
    users: np.ndarray,
    is_exposed: np.ndarray,
    weights: np.ndarray,
    variables: Mapping[str, np.ndarray],
) -> list[EffectStatistic]:
    """Add rows up to one statistic a cell, in one pass.

    Args:
        cells: code 0 .. cell_count - 1 of each row's cell, shape (rows,); a negative code leaves the row out.
        cell_count: number of cells; cells without rows get statistics of zeros.
        users: code of each row's user, integers >= 0, shape (rows,).
        is_exposed: bool, shape (rows,).
        weights: weight of each row, >= 0, shape (rows,); rows of weight 0 are left out.
        variables: finite values by name, each of shape (rows,).
    """
    names = tuple(variables)
    width = 1 + len(names)
    kept = np.flatnonzero((cells >= 0) & (weights > 0))
    keys = cells[kept].astype(np.int64) * (int(users.max()) + 1 if len(users) else 1) + users[kept]
    order = np.argsort(keys, kind="stable")
    kept, keys = kept[order], keys[order]
    exposed_rows = is_exposed[kept]

    moments = np.empty((len(kept), width))
    moments[:, 0] = weights[kept]
    for column, values in enumerate(variables.values(), start=1):
        np.multiply(values[kept], moments[:, 0], out=moments[:, column])
    if not np.isfinite(moments).all():
        raise EffectsError("Weights and variables must be finite; leave rows with unknown outcomes out.")
    by_arm = np.zeros((len(kept), 2 * width))
    by_arm[exposed_rows, :width] = moments[exposed_rows]
    by_arm[~exposed_rows, width:] = moments[~exposed_rows]

    is_first = np.ones(len(keys), dtype=bool)
    is_first[1:] = keys[1:] != keys[:-1]
    cells_of_rows = cells[kept]
    exposed = np.bincount(cells_of_rows[exposed_rows], minlength=cell_count)
    rows = np.bincount(cells_of_rows, minlength=cell_count)
    if not is_first.all():
        starts = np.flatnonzero(is_first)
        by_arm = np.add.reduceat(by_arm, starts, axis=0)
        cells_of_rows = cells_of_rows[starts]
    borders = np.searchsorted(cells_of_rows, np.arange(cell_count + 1))

    statistics = []
    for cell in range(cell_count):
        part = by_arm[borders[cell] : borders[cell + 1]]
        statistics.append(
            EffectStatistic(
                variables=names,
                exposed=int(exposed[cell]),
                controls=int(rows[cell] - exposed[cell]),
                totals=part.sum(axis=0).reshape(2, width),
                products=part.T @ part,
            )
        )
    return statistics
