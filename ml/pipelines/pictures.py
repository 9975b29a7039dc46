"""Saves pictures: a PNG for people below the state folder, and what is drawn on it in `predictions.pictures`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from warehouse.door import Warehouse
from warehouse.settings import Settings

if TYPE_CHECKING:
    # Its import takes a second that only those pay who draw.
    from matplotlib.figure import Figure

__all__ = ["Picture", "pictures_folder", "save_pictures"]

_DOTS_PER_INCH = 90
# Figures beyond these digits are noise to an eye and bytes to a table.
_DIGITS = 6


@dataclass(frozen=True)
class Picture:
    """A picture and the data on it.

    Attributes:
        name: unique within a group; the stem of the file.
        title: what it shows, in a few words.
        figure: the drawing.
        data: what is drawn, a column a variable.
    """

    name: str
    title: str
    figure: "Figure"
    data: pd.DataFrame

    @cached_property
    def png(self) -> bytes:
        """The drawing as a file; most of the work is done when it is asked for first.

        Equal figures give equal bytes: nothing in them tells when or by which version they were drawn.
        """
        buffer = BytesIO()
        self.figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
        return buffer.getvalue()

    def drawn(self) -> "Picture":
        """The same picture, its drawing done."""
        assert self.png
        return self


def pictures_folder(as_of_date: date, settings: Settings) -> Path:
    """Where the pictures of a date lie."""
    return settings.state_folder / "pictures" / as_of_date.isoformat()


def save_pictures(
    warehouse: Warehouse, as_of_date: date, group: str, pictures: Sequence[Picture], settings: Settings
) -> Path:
    """Replace the pictures of a group (what one stage draws) and of a date; return the folder they lie in."""
    folder = pictures_folder(as_of_date, settings)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for picture in pictures:
        path = folder / f"{picture.name}.png"
        partial = path.with_suffix(".partial")
        partial.write_bytes(picture.png)
        partial.replace(path)
        rows.append(
            {
                "as_of_date": as_of_date,
                "picture": picture.name,
                "picture_group": group,
                "title": picture.title,
                "data": {str(name): _plain(column) for name, column in picture.data.items()},
                "file": path.relative_to(settings.state_folder).as_posix(),
            }
        )
    columns = ["as_of_date", "picture", "picture_group", "title", "data", "file"]
    key = {"as_of_date": as_of_date, "picture_group": group}
    with warehouse.transaction() as connection:
        warehouse.replace_rows(connection, "predictions.pictures", pd.DataFrame(rows, columns=columns), key)
    return folder


def _plain(column: pd.Series) -> list[Any]:
    """A column as JSON values; what is missing becomes null."""
    if pd.api.types.is_float_dtype(column.dtype):
        return [float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None for value in column.to_numpy(dtype=float)]
    return [None if pd.isna(value) else value for value in column.tolist()]
