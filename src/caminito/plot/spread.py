"""Picture of what is not known: how far draws of one image differ, pixel by pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from caminito._errors import DataError, ShapeError
from caminito.plot import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["spread"]

_SIDE = 3.4  # inches of the longer side


def spread(
    std: ArrayLike,
    *,
    label: str = "standard deviation of the draws",
    title: str = "",
    caption: str | None = None,
) -> Figure:
    """Map of standard deviations, from the paper where it is 0 to the colour of data at the largest.

    Parameters
    ----------
    std : array, shape (height, width) or (height, width, channels)
        Of each pixel; of several channels the root of the mean square is shown.
    label : str
        What the colour bar says; a unit belongs there.
    title : str
        What is seen.
    caption : str, optional
        What to look at; by default a sentence for this picture, and none without a title.

    Returns
    -------
    Figure

    Raises
    ------
    ShapeError
        If `std` is no map.
    DataError
        If a value is negative or not finite.

    Examples
    --------
    >>> figure = spread([[0.0, 1.0], [2.0, 0.0]])
    >>> figure.axes[0].images[0].get_clim()
    (0.0, 2.0)
    """
    from matplotlib.colors import LinearSegmentedColormap

    values = np.asarray(std, dtype=np.float64)
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise ShapeError(
            f"std: expected shape (height, width) or (height, width, channels), got {values.shape}. Take one image."
        )
    if not np.isfinite(values).all() or (values < 0).any():
        raise DataError("std: expected numbers >= 0, got some that are negative, NaN or infinite.")
    if values.ndim == 3:
        values = np.sqrt((values**2).mean(axis=2))
    height, width = values.shape
    share = _SIDE / max(height, width)
    fig, axes = style.figure(max(share * width, 1.6) + 1.0, max(share * height, 1.6) + 0.2)
    top = float(values.max()) or 1.0
    scale = LinearSegmentedColormap.from_list("spread", [style.PAPER, style.REAL])
    shown = axes.imshow(values, cmap=scale, vmin=0.0, vmax=top, interpolation="nearest")
    style.dress(axes, "", "", "", grid="")
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(True)
        side.set_color(style.HAIR)
    bar = fig.colorbar(shown, ax=axes, fraction=0.05, pad=0.03)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=style.MUTED, labelsize=8, length=0, pad=4)
    bar.set_label(label, fontsize=8.5, color=style.MUTED, labelpad=6)
    usual = "Blank is known: all draws agree. Where the colour is strong, what was seen does not settle the pixel."
    style.caption(fig, title, caption, usual)
    return fig
