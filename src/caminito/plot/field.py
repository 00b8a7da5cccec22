"""Pictures of where points of the plane are drawn to, at one noise level after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from caminito._errors import ConfigError, ShapeError
from caminito.plot import style
from caminito.plot.arrays import Values, checked, rising

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["vector_field"]

_MOST = 9  # panels

_USUAL = {
    "towards the data": (
        "The field towards the data",
        "Arrows point to the mean of the data that a noisy point may have come from; the bluer the ground, the "
        "farther that is. At much noise all lead to the middle, at little noise to the nearest part of the data.",
    ),
    "departure from a dilation": (
        "How each jump back departs from a dilation",
        "What is left of each jump when its pure dilation is taken away, and the bluer the ground, the more. At much "
        "noise all lead to the middle, at little noise across to the data; where nothing is left a jump only dilates.",
    ),
}


def vector_field(
    x: ArrayLike,
    y: ArrayLike,
    field: ArrayLike,
    labels: Sequence[str],
    *,
    data: ArrayLike | None = None,
    of: Literal["towards the data", "departure from a dilation"] = "towards the data",
    title: str | None = None,
    caption: str | None = None,
) -> Figure:
    """Arrows in the plane, a panel for each noise level, over their length as colour.

    Parameters
    ----------
    x, y : array, shapes (columns,) and (rows,)
        Increasing, equally spaced; where the field is known.
    field : array, shape (levels, rows, columns, 2)
        Displacements (dx, dy), such as E[x_0 | x_t] - x_t, or what the mean of a reverse jump differs by from x / a,
        the pure dilation that undoes x_i = a x_(i-1).
    labels : sequence of str, shape (levels,)
        A name for each level, such as "sigma = 0.3"; at most nine.
    data : array, shape (n, 2), optional
        Drawn faintly below.
    of : str
        What the field is, which title and caption follow.
    title, caption : str, optional
        What is seen, and what to look at; those of `of` unless given.

    Returns
    -------
    Figure
        Arrows are as long as the displacement where it is short, and never longer than the spacing of the grid.

    Raises
    ------
    ShapeError, DataError
        If the arrays do not fit together, are empty or not finite, or x or y do not increase.
    ConfigError
        If `of` is unknown, or there are more than nine levels.
    """
    if of not in _USUAL:
        raise ConfigError(f"of: expected {' or '.join(map(repr, _USUAL))}, got {of!r}.")
    across, up, arrows = checked(x=(x, "columns"), y=(y, "rows"), field=(field, "levels rows columns 2"))
    rising("x", across)
    rising("y", up)
    if len(labels) != len(arrows):
        raise ShapeError(f"labels: expected {len(arrows)}, one for each level of field, got {len(labels)}.")
    if len(arrows) > _MOST:
        raise ConfigError(f"field: expected at most {_MOST} levels, got {len(arrows)}. Choose some of them.")
    points = None if data is None else checked(data=(data, "n 2"))[0]
    columns = len(arrows) if len(arrows) <= 4 else math.ceil(len(arrows) / 2 if len(arrows) <= 8 else len(arrows) / 3)
    rows = math.ceil(len(arrows) / columns)
    side = 2.5 if columns > 2 else 3.3
    fig, panels = style.figure(
        side * columns + 0.3, (side + 0.25) * rows, (rows, columns), sharex=True, sharey=True, squeeze=False
    )
    flat = list(panels.flat)
    for axes, arrow, label in zip(flat, arrows, labels):
        _panel(axes, across, up, arrow, points)
        style.dress(axes, label, grid="")
    for axes in flat[len(arrows) :]:
        axes.set_visible(False)
    usual = _USUAL[of]
    style.caption(fig, usual[0] if title is None else title, caption, usual[1])
    return fig


def _panel(axes: Any, across: Values, up: Values, arrows: Values, points: Values | None) -> None:
    length = np.linalg.norm(arrows, axis=-1)
    spacing = min([float(np.diff(line).min()) for line in (across, up) if len(line) > 1], default=1.0)
    axes.pcolormesh(
        across, up, length, cmap=style.heat(), vmin=0, vmax=float(length.max()) or 1, shading="gouraud", rasterized=True
    )
    if points is not None:
        axes.plot(*points.T, ".", color=style.REAL, markersize=2, alpha=0.55, mew=0, zorder=2, rasterized=True)
    shorter = 0.9 * spacing / np.maximum(length, spacing)  # never longer than a cell
    axes.quiver(
        *np.meshgrid(across, up),
        *np.moveaxis(arrows * shorter[..., None], -1, 0),
        angles="xy",
        scale_units="xy",
        scale=1,
        color=style.INK,
        width=0.0045,
        headwidth=4,
        headlength=4.5,
        zorder=3,
    )
    room = spacing / 2
    axes.set_xlim(across[0] - room, across[-1] + room)
    axes.set_ylim(up[0] - room, up[-1] + room)
    axes.set_aspect("equal")
