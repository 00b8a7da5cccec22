"""Pictures of a few named numbers: scores beside their floors, and where the time went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from caminito._errors import DataError
from caminito.plot import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["scores", "time_spent"]

_NAMES = {
    "sliced_wasserstein": "sliced Wasserstein",
    "mmd": "MMD",
    "c2st": "C2ST",
    "frechet": "Fréchet",
    "frechet_features": "Fréchet, features",
}
_ARROWS = {"lower": "  ↓", "higher": "  ↑"}


def scores(
    scores: Mapping[str, Sequence[Any]], *, title: str = "Samples (dots) beside real data in their place (ticks)"
) -> Figure:
    """Each score as a dot, with a tick where real data come to lie under the same judge.

    Parameters
    ----------
    scores : mapping of str to (value, floor, ...)
        What `two_sample` returns. Each line has its own scale, from 0 to the larger of the two; an arrow tells which
        way is better when the fourth entry does ("lower" or "higher").
    title : str
        What is seen.

    Returns
    -------
    Figure

    Raises
    ------
    DataError
        If there is no score.
    """
    if not scores:
        raise DataError("scores: expected at least one, got none.")
    fig, axes = style.figure(7.2, 0.9 + 0.36 * len(scores))
    for row, (name, (value, floor, *more)) in enumerate(scores.items()):
        label = _NAMES.get(name, name.replace("_", " ")) + (_ARROWS.get(more[1], "") if len(more) > 1 else "")
        low, high = min(0.0, value, floor), max(value, floor, 0.0)
        span = high - low or 1.0
        at, tick = (value - low) / span, (floor - low) / span
        axes.plot([0, 1], [row, row], color=style.HAIR, linewidth=0.8, zorder=1, solid_capstyle="butt")
        axes.plot(
            [tick, at], [row, row], color=style.GENERATED, linewidth=2, alpha=0.35, zorder=2, solid_capstyle="butt"
        )
        axes.plot(
            [tick, tick], [row - 0.28, row + 0.28], color=style.REAL, linewidth=2.4, zorder=3, solid_capstyle="butt"
        )
        axes.plot(at, row, "o", color=style.GENERATED, markersize=7, zorder=4, mec="white", mew=0.8)
        axes.text(-0.03, row, label, ha="right", va="center", fontsize=8.5, color=style.INK)
        axes.text(1.15, row, _figures(value), ha="right", va="center", fontsize=8.5, color=style.GENERATED)
        axes.text(1.3, row, _figures(floor), ha="right", va="center", fontsize=8.5, color=style.REAL)
    axes.text(1.15, -0.85, "samples", ha="right", va="center", fontsize=7.5, color=style.MUTED)
    axes.text(1.3, -0.85, "real data", ha="right", va="center", fontsize=7.5, color=style.MUTED)
    axes.set_xlim(-0.36, 1.32)
    axes.set_ylim(len(scores) - 0.5, -0.7)
    axes.set_axis_off()
    style.caption(fig, title)
    return fig


def time_spent(seconds: Mapping[str, float], *, title: str = "Where the time went") -> Figure:
    """Seconds of each part of a run, as bars, in the order given.

    Parameters
    ----------
    seconds : mapping of str to float
        Seconds under the name of each part; not negative.
    title : str
        What is seen.

    Returns
    -------
    Figure

    Raises
    ------
    DataError
        If nothing is given, or a duration is negative or not finite.
    """
    spent = np.array(list(seconds.values()), dtype=np.float64)
    if spent.size == 0 or not np.isfinite(spent).all() or (spent < 0).any():
        raise DataError(f"seconds: expected durations >= 0, got {dict(seconds)}.")
    fig, axes = style.figure(7.2, 0.7 + 0.32 * len(spent))
    rows = np.arange(len(spent))
    axes.barh(rows, spent, height=0.55, color=style.REAL, alpha=0.85)
    total = float(spent.sum()) or 1.0
    for row, duration in zip(rows, spent):
        axes.annotate(
            f"{_duration(duration)}   {100 * duration / total:.0f} %",
            (duration, row),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=style.MUTED,
        )
    style.dress(axes, f"{title}: {_duration(float(spent.sum()))}", grid="")
    axes.set_yticks(rows, list(seconds), fontsize=8.5, color=style.INK)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_xlim(0, 1.25 * max(float(spent.max()), 1e-12))
    axes.invert_yaxis()
    return fig


def _figures(value: float) -> str:
    if abs(value) >= 1e4 or 0 < abs(value) < 0.0005:
        return f"{value:.0e}" if abs(value) < 1 else f"{value:.1e}".replace("e+0", "e").replace("e+", "e")
    return f"{value:.4f}" if abs(value) < 0.1 else f"{value:.3f}" if abs(value) < 100 else f"{value:.4g}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds >= 0.95 else f"{1000 * seconds:.0f} ms"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
