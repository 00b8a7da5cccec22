"""Clouds of points side by side: one panel for each way they were drawn, over the data they should be like."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from caminito._errors import ConfigError, DataError
from caminito.plot import style
from caminito.plot.points import alpha_of, points_of, size_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["clouds"]

_MOST = 9  # panels


def clouds(
    sets: Mapping[str, ArrayLike],
    *,
    data: ArrayLike | None = None,
    others: ArrayLike | None = None,
    title: str = "",
    caption: str | None = None,
) -> Figure:
    """Sets of points in the plane, a panel for each, all on the same axes and over the same data.

    Parameters
    ----------
    sets : mapping of str to array, shape (n, 2)
        Samples by the name of their panel, such as "w = 2"; at most nine.
    data : array, shape (n, 2), optional
        What all of them should be like; drawn below each.
    others : array, shape (n, 2), optional
        What none of them should be like, such as data of other classes; drawn faintly below.
    title : str
        What is seen.
    caption : str, optional
        What to look at; by default a sentence for this picture, and none without a title.

    Returns
    -------
    Figure
        Axes cover all data and 99 % of each set; no point is moved.

    Raises
    ------
    ShapeError
        If a set is not of shape (n, 2).
    DataError
        If there is no set, or one is empty or not finite.
    ConfigError
        If there are more than nine.
    """
    if not sets:
        raise DataError("sets: expected at least one set of points, got none.")
    if len(sets) > _MOST:
        raise ConfigError(f"sets: expected at most {_MOST}, got {len(sets)}. Choose some of them.")
    drawn = {name: points_of(each, name) for name, each in sets.items()}
    below = {name: points_of(each, name) for name, each in (("others", others), ("data", data)) if each is not None}
    seen = np.concatenate([*below.values(), *(np.quantile(each, [0.005, 0.995], axis=0) for each in drawn.values())])
    low, high = seen.min(axis=0), seen.max(axis=0)
    room = 0.04 * max(float(np.max(high - low)), 1e-12)
    columns = len(drawn) if len(drawn) <= 4 else math.ceil(len(drawn) / (2 if len(drawn) <= 8 else 3))
    rows, side = math.ceil(len(drawn) / columns), 2.5 if columns > 2 else 3.3
    share = float(np.clip((high[1] - low[1] + 2 * room) / (high[0] - low[0] + 2 * room), 0.4, 1.6))
    fig, panels = style.figure(
        side * columns + 0.3, (side * share + 0.25) * rows, (rows, columns), sharex=True, sharey=True, squeeze=False
    )
    colours = {"others": style.MUTED, "data": style.REAL}
    flat = list(panels.flat)
    for axes, (name, points) in zip(flat, drawn.items()):
        for which, ground in below.items():
            axes.scatter(*ground.T, s=5, color=colours[which], alpha=0.28, linewidths=0, rasterized=True)
        how = {"s": size_of(len(points)), "alpha": alpha_of(len(points)), "linewidths": 0}
        axes.scatter(*points.T, color=style.GENERATED, rasterized=True, **how)
        style.dress(axes, name, grid="")
        axes.set_xlim(low[0] - room, high[0] + room)
        axes.set_ylim(low[1] - room, high[1] + room)
        axes.set_aspect("equal")
    for axes in flat[len(drawn) :]:
        axes.set_visible(False)
    style.caption(fig, title, caption, _usual(below))
    return fig


def _usual(below: Mapping[str, object]) -> str:
    if "data" not in below:
        return "All panels have the same axes. Look for places that only some of them fill."
    grey = ", others grey" if "others" in below else ""
    return f"Data are blue{grey}, samples vermilion. Look for blue that no sample covers, and samples beside the blue."
