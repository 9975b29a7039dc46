"""`python -m local.samples.game_world.pictures --folder X` draws docs/pictures/game_world_*.png from a world."""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from local.samples.game_world.lifelike import GAP_SHARES, Lifelikeness, measure_lifelikeness

_COLOUR, _RANGE = "#2a6f97", "#cfd8dc"
#: Published ranges (docs/game_world.md has the sources): day, lowest, highest.
_PUBLISHED_RETENTION = ((1, 0.25, 0.40), (7, 0.07, 0.20), (30, 0.03, 0.10))


def draw_pictures(world: Lifelikeness, folder: Path) -> list[Path]:
    """Draw retention, spend concentration and inter-session times into `folder`; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _draw_retention(world, folder / "game_world_retention.png"),
        _draw_concentration(world, folder / "game_world_spend.png"),
        _draw_gaps(world, folder / "game_world_gaps.png"),
    ]


def _save(figure: plt.Figure, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path, dpi=90, metadata={"Software": None})
    plt.close(figure)
    return path


def _draw_retention(world: Lifelikeness, path: Path) -> Path:
    figure, axes = plt.subplots(figsize=(5.5, 3.4))
    for day, low, high in _PUBLISHED_RETENTION:
        axes.plot([day, day], [low, high], color=_RANGE, linewidth=9, solid_capstyle="butt")
    axes.plot(list(world.retention), list(world.retention.values()), marker="o", markersize=3, color=_COLOUR)
    axes.set(xscale="log", yscale="log", xlabel="days after registering", ylabel="share of players who play")
    axes.set_xticks([1, 3, 7, 14, 30, 90, 180], labels=["1", "3", "7", "14", "30", "90", "180"])
    axes.set_yticks([0.03, 0.05, 0.1, 0.2, 0.4], labels=["3 %", "5 %", "10 %", "20 %", "40 %"])
    axes.minorticks_off()
    axes.set_title("Retention; grey: published ranges", fontsize=10)
    return _save(figure, path)


def _draw_concentration(world: Lifelikeness, path: Path) -> Path:
    figure, axes = plt.subplots(figsize=(5.5, 3.4))
    axes.plot([10, 10], [46, 64], color=_RANGE, linewidth=9, solid_capstyle="butt")
    axes.plot(np.arange(101), 100 * world.spend_shares, color=_COLOUR)
    axes.set(xlabel="payers, those who paid most first (%)", ylabel="share of revenue (%)")
    axes.set_title("Spend concentration; grey: published range", fontsize=10)
    return _save(figure, path)


def _draw_gaps(world: Lifelikeness, path: Path) -> Path:
    figure, axes = plt.subplots(figsize=(5.5, 3.4))
    axes.plot(world.gap_hours, 100 * np.array(GAP_SHARES), color=_COLOUR)
    axes.set(xscale="log", xlabel="hours from the start of a session to the next", ylabel="sessions (%)")
    axes.set_xticks([1 / 6, 1, 6, 24, 168, 720], labels=["10 min", "1 h", "6 h", "1 day", "7 days", "30 days"])
    axes.minorticks_off()
    axes.set_title("Inter-session times", fontsize=10)
    return _save(figure, path)


def main() -> None:
    """Draw the pictures of a written world."""
    parser = argparse.ArgumentParser(prog="python -m local.samples.game_world.pictures", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="a source folder of the game world")
    parser.add_argument("--pictures", type=Path, default=Path("docs/pictures"))
    chosen = parser.parse_args()
    world = measure_lifelikeness(chosen.folder)
    for path in draw_pictures(world, chosen.pictures):
        print(path)
    for name, value in vars(world).items():
        if not isinstance(value, np.ndarray):
            print(name, value)
    print("hours between sessions: median", world.gap_hours[49], "90 %", world.gap_hours[89])


if __name__ == "__main__":
    main()
