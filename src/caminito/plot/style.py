"""One look for every picture: few colours, told apart by everyone, and no ink that says nothing.

Real data are blue, samples are vermilion, everything else is grey until it needs a colour of its own. The hues are
those of Okabe & Ito 2008, which stay distinct under the common forms of colour blindness; ordered things use `cividis`.

Figures are built without pyplot: nothing is registered, shown or kept, so pictures can be made in any thread and
without a display. matplotlib is imported when the first figure is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "GENERATED",
    "HAIR",
    "INK",
    "MUTED",
    "REAL",
    "caption",
    "dress",
    "figure",
    "legend",
    "log_scale",
    "pixels",
    "shades",
]

INK = "#1F2A36"
MUTED = "#6B7785"
HAIR = "#DDE2E7"
REAL = "#0072B2"
GENERATED = "#D55E00"
COLOURS = (REAL, GENERATED, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

_DPI = 144


def figure(width: float, height: float, panels: int = 1, **how: Any) -> tuple[Figure, Any]:
    """Figure of `width` x `height` inches that arranges its axes by itself, and those: one, or a row of `panels`."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    room = ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.09, wspace=0.02)
    fig = Figure(figsize=(width, height), dpi=_DPI, layout=room, facecolor="white")
    return fig, fig.subplots(1, panels, **how)


def pixels(width: int, height: int) -> Figure:
    """Empty figure of `width` x `height` pixels whose axes are placed by hand."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")


def dress(axes: Any, title: str = "", x: str = "", y: str = "", *, grid: str = "y") -> None:
    """Give axes the house look: title on the left, two spines, faint lines along `grid` ("x", "y", "both" or "")."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(HAIR)
    axes.tick_params(colors=MUTED, labelsize=8, length=0, which="both", pad=5)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(visible=True, axis=grid, color=HAIR, linewidth=0.7)
    if title:
        axes.set_title(title, loc="left", fontsize=10, color=INK, pad=10)
    axes.set_xlabel(x, fontsize=8.5, color=MUTED, labelpad=5)
    axes.set_ylabel(y, fontsize=8.5, color=MUTED, labelpad=5)


def log_scale(axes: Any, which: str) -> None:
    """Logarithmic axis "x" or "y" with plain numbers at 1, 2, 5 or, over many decades, at powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}scale": "log"})
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 1000 * low else (1.0,), numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def legend(axes: Any, **where: Any) -> None:
    """Legend without a box, in the ink of the text."""
    axes.legend(frameon=False, fontsize=8, labelcolor=INK, handlelength=1.4, borderaxespad=0.3, **where)


def caption(fig: Figure, title: str) -> None:
    """Title of a whole figure, on the left."""
    if title:
        fig.suptitle(title, x=0.02, ha="left", fontsize=11, color=INK)


def shades(count: int) -> Sequence[Any]:
    """`count` colours from pale to dark, for things that have an order."""
    from matplotlib import colormaps

    scale = colormaps["cividis"]
    return [scale(0.85 - 0.8 * i / max(1, count - 1)) for i in range(count)]
