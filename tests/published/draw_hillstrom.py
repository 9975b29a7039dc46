"""Draw the forest plot of docs/methods/effects.md: `python -m tests.published.draw_hillstrom`."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ml.effects import Exposures, correct_cells, draw_forest, measure_cells
from tests.published.hillstrom import read_hillstrom

PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "effects_hillstrom.png"


def main() -> None:
    """Measure the men's e-mail by what customers had spent before, and save the picture."""
    data = read_hillstrom()
    data = data[data["segment"] != "Womens E-Mail"].reset_index(drop=True)
    rows = len(data)
    is_exposed = (data["segment"] == "Mens E-Mail").to_numpy()
    spent = data["history_segment"].str.slice(3).str.replace("1,000 +", "1,000 or more")
    exposures = Exposures(
        event_type="the men's e-mail",
        user_ids=np.array([f"c{row}" for row in range(rows)], dtype=object),
        event_ids=np.full(rows, "campaign", dtype=object),
        channels=np.full(rows, "email", dtype=object),
        segments=("spent " + spent).to_numpy(dtype=object),
        is_exposed=is_exposed,
        assignment_probability=np.full(rows, 0.5),
        outcomes={"return": data["visit"].to_numpy(dtype=float)},
        costs=np.zeros(rows),
        features=data[["recency", "history", "mens", "womens", "newbie", "zip_code", "channel"]],
    )
    cells = [cell for cell in correct_cells(measure_cells(exposures)) if cell.scope in ("event_type", "segment")]
    figure = draw_forest(cells, exposures.event_type)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(PICTURE)


if __name__ == "__main__":
    main()
