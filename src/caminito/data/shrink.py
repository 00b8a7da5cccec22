"""Items on a coarser grid: each value the mean of a block of them.

    x'[i, j] = (1 / f^2) sum_{a, b < f} x[f i + a, f j + b]

A mean over the block leaves nothing to alias from beyond it, and keeps the mean of an item. Whole numbers are rounded
to the nearest, halves to even.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caminito._errors import ConfigError, ShapeError
from caminito.data._check import as_array, row_chunks

__all__ = ["shrink"]


def shrink(X: ArrayLike, factor: int, *, channel_axis: Literal["image", 1, -1] | None = "image") -> NDArray[Any]:
    """Items with sides divided by `factor`, in the layout and dtype of X.

    Parameters
    ----------
    X : array (n, ...)
    factor : int >= 1
        Divides every side.
    channel_axis : {'image', None, 1, -1}
        Where the channels are, which stay: 'image' is None for (n, H, W) and -1 for (n, H, W, C).

    Raises
    ------
    ConfigError
        If `factor` is not a whole number from 1 on.
    ShapeError
        If the items have no grid, or one with a side that `factor` does not divide.

    Examples
    --------
    >>> import numpy as np
    >>> shrink(np.array([[[0, 2, 8, 8], [4, 6, 8, 9]]], dtype=np.uint8), 2)
    array([[[3, 8]]], dtype=uint8)
    """
    if isinstance(factor, bool) or not isinstance(factor, int | np.integer) or factor < 1:
        raise ConfigError(f"factor: expected a whole number >= 1, got {factor!r}.")
    array = as_array(X)
    if channel_axis == "image":
        channel_axis = -1 if array.ndim == 4 else None
    if array.ndim <= 2:
        raise ShapeError(f"X: expected items on a grid, got shape {array.shape}: rows of numbers cannot be shrunk.")
    view = array[:, None] if channel_axis is None else np.moveaxis(array, channel_axis, 1)
    grid = view.shape[2:]
    if any(side % factor for side in grid):
        raise ShapeError(
            f"X: expected sides that {factor} divides, got {' x '.join(map(str, grid))}. Resize or crop the items "
            "first, or take a factor that divides them."
        )
    blocks = [part for side in grid for part in (side // factor, factor)]
    out = np.empty((*view.shape[:2], *blocks[::2]), array.dtype)
    for rows in row_chunks(len(view), view[:1].size):
        piece = view[rows].astype(np.float64).reshape(-1, view.shape[1], *blocks)
        means = piece.mean(axis=tuple(range(3, 3 + 2 * len(grid), 2)))
        out[rows] = np.rint(means) if array.dtype.kind in "biu" else means
    if channel_axis is None:
        return out[:, 0]
    return np.ascontiguousarray(np.moveaxis(out, 1, channel_axis))
