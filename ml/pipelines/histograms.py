"""Counts of variables by bin, computed in Postgres: one pass over a relation for all of its columns."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from ml.drift import Histogram
from ml.pipelines.reading import FeatureCatalogue
from warehouse.door import Warehouse

__all__ = ["Bins", "Variables", "read_bins", "read_histograms", "watched_features", "watched_predictions"]

# Edges are the deciles of the reference, learned from so many of its users, drawn by hash.
_USERS_FOR_EDGES = 50_000
_DECILES = [round(share / 10, 1) for share in range(1, 10)]
_CATEGORIES = 20
# Truth values are two words.
_TEXT_TYPES = ("text", "character varying", "boolean")


@dataclass(frozen=True)
class Variables:
    """Columns of one relation that are watched.

    Attributes:
        relation: `schema.table`, with the columns user_id and as_of_date.
        numbers: numeric columns.
        texts: text and truth columns.
        population: condition on a row, `source` being its alias.
    """

    relation: str
    numbers: tuple[str, ...]
    texts: tuple[str, ...]
    population: str


@dataclass(frozen=True)
class Bins:
    """How a variable is cut: at `edges` (ascending) or by `categories`; the first bin is what lies below or is none."""

    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()


def watched_features(warehouse: Warehouse, activity_relation: str) -> list[Variables]:
    """Return all features of inactive users, by relation."""
    inactive = (
        f"exists (select from {activity_relation} as users where users.user_id = source.user_id"
        " and users.as_of_date = source.as_of_date and users.is_inactive)"
    )
    kinds = warehouse.read_frame(
        "select table_name::text as relation, column_name::text as name, data_type::text as kind"
        " from information_schema.columns where table_schema = 'features'"
    ).set_index(["relation", "name"])["kind"]
    found = []
    for relation, names in FeatureCatalogue.read(warehouse).user_columns.items():
        texts = tuple(name for name in names if kinds[relation, name] in _TEXT_TYPES)
        numbers = tuple(name for name in names if name not in texts)
        found.append(Variables(f"features.{relation}", numbers, texts, inactive))
    return found


def watched_predictions() -> list[Variables]:
    """Return what the models say of a user."""
    numbers = ("p_return_if_not_contacted", "p_return_best", "p_conversion", "value_score")
    return [Variables("predictions.user_scores", numbers, (), "true")]


def read_bins(warehouse: Warehouse, variables: Variables, as_of_date: date) -> dict[str, Bins]:
    """Cut every variable by the users of a date: numbers at deciles and above the largest, texts by frequency."""
    chosen = (
        f"with source as materialized (select * from {variables.relation} as source where as_of_date = %(as_of_date)s"
        f" and {variables.population} order by md5(user_id), user_id limit %(most)s)"
    )
    parameters = {"as_of_date": as_of_date, "most": _USERS_FOR_EDGES, "shares": _DECILES}
    bins: dict[str, Bins] = {}
    if variables.numbers:
        rows = warehouse.read_frame(
            f"{chosen} select cells.variable, to_json(percentile_disc(%(shares)s::float8[]) within group"
            " (order by cells.cell)) as deciles, max(cells.cell) as largest from source"
            f" cross join lateral (values {_pairs(variables.numbers, 'float8')}) as cells(variable, cell)"
            " where cells.cell not in ('NaN', 'Infinity', '-Infinity') group by cells.variable",
            parameters,
        )
        for name, deciles, largest in zip(rows["variable"], rows["deciles"], rows["largest"], strict=True):
            above = float(np.nextafter(largest, np.inf))
            bins[name] = Bins(edges=tuple(sorted({*map(float, json.loads(deciles)), above})))
    if variables.texts:
        rows = warehouse.read_frame(
            f"{chosen}, counted as (select cells.variable, cells.cell, row_number() over"
            ' (partition by cells.variable order by count(*) desc, cells.cell collate "C") as place from source'
            f" cross join lateral (values {_pairs(variables.texts, 'text')}) as cells(variable, cell)"
            " where cells.cell is not null group by cells.variable, cells.cell)"
            f" select variable, to_json(array_agg(cell order by place)) as categories from counted"
            f" where place <= {_CATEGORIES} group by variable",
            parameters,
        )
        for name, categories in zip(rows["variable"], rows["categories"], strict=True):
            bins[name] = Bins(categories=tuple(json.loads(categories)))
    return {name: bins.get(name, Bins()) for name in (*variables.numbers, *variables.texts)}


def read_histograms(
    warehouse: Warehouse, variables: Variables, as_of_date: date, bins: Mapping[str, Bins]
) -> dict[str, Histogram]:
    """Count the users of a date in the bins of every variable that has bins."""
    found: dict[str, Histogram] = {}
    numbers = [name for name in variables.numbers if name in bins]
    texts = [name for name in variables.texts if name in bins]
    cuts = {
        "number": (numbers, "float8", "width_bucket(cells.cell, cuts.edges)", "edges", "float8"),
        "text": (texts, "text", "coalesce(array_position(cuts.categories, cells.cell), 0)", "categories", "text"),
    }
    for names, kind, place, column, element in cuts.values():
        if not names:
            continue
        limits = [getattr(bins[name], column) for name in names]
        rows = warehouse.read_frame(
            f"with cuts as (select variable, array(select jsonb_array_elements_text(limits)::{element}) as {column}"
            " from unnest(%(names)s::text[], %(limits)s::jsonb[]) as given(variable, limits))"
            f" select cells.variable, case when cells.cell is null then -1 else {place} end as bin, count(*) as users"
            f" from {variables.relation} as source"
            f" cross join lateral (values {_pairs(names, kind)}) as cells(variable, cell)"
            " inner join cuts on cuts.variable = cells.variable"
            f" where source.as_of_date = %(as_of_date)s and {variables.population} group by 1, 2",
            {"as_of_date": as_of_date, "names": names, "limits": [json.dumps(limit) for limit in limits]},
        )
        for name, limit in zip(names, limits, strict=True):
            found[name] = _histogram(rows[rows["variable"] == name], len(limit) + 1)
    return found


def _histogram(rows: pd.DataFrame, count: int) -> Histogram:
    counts = np.zeros(count, dtype=np.int64)
    known = rows[rows["bin"] >= 0]
    counts[known["bin"].to_numpy()] = known["users"].to_numpy()
    return Histogram(counts, int(rows.loc[rows["bin"] < 0, "users"].sum()))


def _pairs(names: Sequence[str], kind: str) -> str:
    """Name and value of each column as rows."""
    return ", ".join(f"('{name}', source.\"{name}\"::{kind})" for name in names)
