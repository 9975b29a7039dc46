"""Forest plots: effects with their intervals, one line a cell."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from ml.effects.cells import ALL, CellEffect
from ml.effects.errors import EffectsError

COLOURS = {"randomised": "#1b6ca8", "adjusted": "#c77d0a"}
TITLES = {"return": "chance of returning", "conversion": "chance of paying after a return", "revenue": "revenue a user"}


def draw_forest(effects: Sequence[CellEffect], event_type: str, outcome: str = "return") -> Figure:
    """Draw the effects of one event type on one outcome: the type itself on top, then segments, channels, events.

    Randomised and adjusted effects differ in colour and marker; shrunk ones are hollow; cells without enough evidence
    are listed without a mark, so that their absence cannot be taken for an effect of zero.
    """
    order = {"event_type": 0, "segment": 1, "channel": 2, "event": 3}
    cells = sorted(
        (cell for cell in effects if cell.event_type == event_type and cell.outcome == outcome),
        key=lambda cell: (order[cell.scope], cell.segment, cell.channel, cell.event_id),
    )
    if not cells:
        raise EffectsError(f"There are no effects of {event_type!r} on {outcome!r} to draw.")
    figure = Figure(figsize=(8.0, 1.4 + 0.34 * len(cells)), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0.0, color="#888888", linewidth=1, zorder=0)
    seen: dict[str, ErrorbarContainer] = {}
    for line, cell in enumerate(cells):
        if cell.effect is None or cell.low is None or cell.high is None:
            axes.text(0.0, line, "  not enough evidence", va="center", fontsize=8, color="#888888")
            continue
        colour = COLOURS[cell.evidence]
        bar = axes.errorbar(
            cell.effect,
            line,
            xerr=[[cell.effect - cell.low], [cell.high - cell.effect]],
            fmt="s" if cell.evidence == "randomised" else "o",
            color=colour,
            markerfacecolor="white" if cell.is_shrunk else colour,
            capsize=3,
        )
        seen[f"{cell.evidence}, shrunk" if cell.is_shrunk else cell.evidence] = bar
    axes.set_yticks(range(len(cells)), [_label(cell) for cell in cells], fontsize=8, parse_math=False)
    axes.set_ylim(len(cells) - 0.4, -0.6)
    axes.set_xlabel(f"effect on the {TITLES.get(outcome, outcome)}, with 95 % interval", fontsize=9)
    axes.set_title(f"What {event_type} did", fontsize=11, loc="left", parse_math=False)
    if seen:
        axes.legend(list(seen.values()), list(seen), fontsize=8, loc="best", frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def _label(cell: CellEffect) -> str:
    """Name of a cell and how many rows it rests on."""
    name = next((part for part in (cell.segment, cell.channel, cell.event_id) if part != ALL), "all users")
    return f"{name} ({cell.exposed:,} v {cell.controls:,})"
