"""Pictures of value, each with the data behind it, so that a dashboard can draw them again."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

_BLUE, _ORANGE, _GREY = "#0072B2", "#E69F00", "#999999"
_BARS = 40
_POINTS = 200


def distribution_data(score: ArrayLike) -> pd.DataFrame:
    """Histogram of the value scores: columns low, high (edges in money) and users.

    The edges are evenly spaced on a scale that is linear near 0 and logarithmic far from it, so that the few who are
    worth a thousand times more than the rest do not press everybody into one bar.
    """
    values = np.asarray(score, dtype=float)
    values = values[np.isfinite(values)]
    if not values.size:
        return pd.DataFrame({"low": [], "high": [], "users": []}, dtype=float)
    amounts = np.abs(values[values != 0])
    unit = float(np.median(amounts)) if amounts.size else 1.0
    edges = np.sinh(np.linspace(np.arcsinh(values.min() / unit), np.arcsinh(values.max() / unit), _BARS + 1)) * unit
    # Rounding must not push the extremes out of the outer bars.
    edges[0], edges[-1] = values.min(), max(values.max(), np.nextafter(values.min(), np.inf))
    users, edges = np.histogram(values, np.maximum.accumulate(edges))
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "users": users})


def distribution_figure(data: pd.DataFrame, *, currency: str = "") -> Figure:
    """Draw `distribution_data`: users who are worth an invitation to the right of 0, the others to the left."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    if len(data):
        middle = (data["low"] + data["high"]) / 2
        colours = np.where(middle > 0, _BLUE, _GREY)
        axes.bar(np.arange(len(data)), data["users"], width=0.95, color=list(colours))
        shown = np.linspace(0, len(data) - 1, 9).round().astype(int)
        axes.set_xticks(shown, [_amount(middle.iloc[place]) for place in shown])
    axes.set(title="Value scores", xlabel=f"value score {currency}".strip(), ylabel="users")
    return figure


def gain_data(score: ArrayLike) -> pd.DataFrame:
    """What inviting the best first brings: columns share (of the users), gain (money so far), gain_at_random."""
    values = np.sort(np.nan_to_num(np.asarray(score, dtype=float)))[::-1]
    if not values.size:
        return pd.DataFrame({"share": [0.0], "gain": [0.0], "gain_at_random": [0.0]})
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.unique(np.linspace(0, values.size, min(_POINTS, values.size) + 1).round().astype(int))
    share = places / values.size
    return pd.DataFrame({"share": share, "gain": sums[places], "gain_at_random": share * sums[-1]})


def gain_figure(data: pd.DataFrame, *, currency: str = "") -> Figure:
    """Draw `gain_data`; the top of the curve is where further invitations cost more than they bring."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(data["share"] * 100, data["gain"], color=_BLUE, label="best first")
    axes.plot(data["share"] * 100, data["gain_at_random"], color=_GREY, linestyle="--", label="in any order")
    top = int(data["gain"].to_numpy().argmax())
    share, gain = float(data["share"].iloc[top]), float(data["gain"].iloc[top])
    axes.scatter(share * 100, gain, color=_ORANGE, zorder=3)
    if gain > 0:
        text = " ".join(f"{_amount(gain)} {currency} with {share:.0%} of the users".split())
    else:
        text = "nobody pays for the invitation"
    # Inside the picture, whatever corner the top lies in.
    axes.annotate(
        text,
        (share * 100, gain),
        xytext=(12 if share < 0.5 else -12, -14 if gain > 0 else 8),
        textcoords="offset points",
        ha="left" if share < 0.5 else "right",
        va="top" if gain > 0 else "bottom",
    )
    axes.set(title="Expected gain", xlabel="users invited (%)", ylabel=f"money {currency}".strip())
    axes.legend()
    return figure


def _amount(money: float) -> str:
    return f"{money:,.0f}" if abs(money) >= 100 else f"{money:.3g}"
