"""Rows of numbers and the distances between them, in blocks of bounded size.

A data set of n events becomes n rows whatever the shape of an event. Squared distances come from one matrix product,

    |x - y|^2 = |x - c|^2 + |y - c|^2 - 2 <x - c, y - c>,

after both sets are moved by the same c near their centre. Where cancellation would cost digits (near copies) the entry
is computed again from the difference itself, so a copy is at distance exactly 0. The shift c is a multiple of a power
of two: data on a dyadic grid (pixels / 8 - 1) keep exact distances, and exact ties stay ties.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caminito._errors import DataError, NonFiniteError, ShapeError

__all__ = ["Array", "Rows", "as_rows", "blocks", "distance_blocks", "equal_sizes", "pair_of_rows"]

Array = NDArray[np.float64]
Rows = NDArray[np.generic]

BLOCK_VALUES = 1 << 22  # numbers in one block: 32 MiB of float64
_CANCELLED = 1e-6  # below this share of |x|^2 + |y|^2 a squared distance has lost six of its sixteen digits


def as_rows(values: ArrayLike, name: str, *, least: int = 2) -> Rows:
    """`values`, shape (n, ...), as n rows of numbers, shape (n, size); not yet cast, but all finite.

    Raises
    ------
    DataError
        If `values` are not numbers, or fewer than `least` rows.
    NonFiniteError
        If a value is NaN or infinite.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "buif":
        raise DataError(f"{name}: expected an array of real numbers, got dtype {array.dtype}. Encode it first.")
    if array.ndim == 0 or len(array) < least or array.size == 0:
        raise DataError(
            f"{name}: expected at least {least} items along the first axis, got shape {array.shape}. Pass more items."
        )
    rows = array.reshape(len(array), -1)
    if rows.dtype.kind == "f":
        bad = sum(int(np.sum(~np.isfinite(block))) for _, block in blocks(rows))
        if bad:
            raise NonFiniteError(f"{name}: expected finite values, got {bad} NaN or infinite. Remove those items.")
    return rows


def pair_of_rows(
    x: ArrayLike, y: ArrayLike, *, names: tuple[str, str] = ("x", "y"), least: int = 2
) -> tuple[Rows, Rows]:
    """Two sets of events of one size, as rows.

    Raises
    ------
    ShapeError
        If an event of `x` has not as many numbers as an event of `y`.
    """
    first, second = as_rows(x, names[0], least=least), as_rows(y, names[1], least=least)
    if first.shape[1] != second.shape[1]:
        raise ShapeError(
            f"{names[0]} and {names[1]}: expected items of one size, got {first.shape[1]} and {second.shape[1]} "
            f"numbers per item (shapes {np.shape(x)} and {np.shape(y)}). Bring both to one shape."
        )
    return first, second


def equal_sizes(x: Rows, y: Rows, *, names: tuple[str, str] = ("x", "y")) -> None:
    """Refuse two sets of different length, where the measure would be biased by it."""
    if len(x) != len(y):
        least = min(len(x), len(y))
        raise ShapeError(
            f"{names[0]} and {names[1]}: expected equally many items, got {len(x)} and {len(y)}: the measure depends "
            f"on how many there are. Pass the first {least} of each."
        )


def blocks(rows: Rows, width: int | None = None) -> Iterator[tuple[int, Array]]:
    """`(start, float64 rows)` in order, about `BLOCK_VALUES / width` rows each; `width` defaults to that of a row."""
    step = max(1, BLOCK_VALUES // max(1, rows.shape[1] if width is None else width))
    for start in range(0, len(rows), step):
        yield start, rows[start : start + step].astype(np.float64, copy=False)


def distance_blocks(x: Rows, y: Rows) -> Iterator[tuple[slice, Array]]:
    """Squared Euclidean distances, `(rows of x, array of shape (rows, len(y)))`, a block of rows at a time.

    Exact zeros for equal rows; relative error below 1e-9 elsewhere. The block may be written to.
    """
    centre = _dyadic_centre(y)
    for start, part in blocks(x, max(len(y), x.shape[1])):
        left = part - centre
        left_norm = np.einsum("ij,ij->i", left, left)
        squared = np.empty((len(part), len(y)))
        for begin, other in blocks(y):
            right = other - centre
            norms = left_norm[:, None] + np.einsum("ij,ij->i", right, right)
            block = norms - 2.0 * (left @ right.T)
            _refine(block, norms, left, right)
            squared[:, begin : begin + len(other)] = block
        yield slice(start, start + len(part)), squared


def _dyadic_centre(rows: Rows) -> Array:
    few = rows[:: max(1, len(rows) // 1024)].astype(np.float64)
    mean = few.mean(axis=0)
    spread = float(np.abs(few - mean).max())
    unit = 2.0 ** np.floor(np.log2(spread)) if spread > 0 else 1.0
    return np.round(mean / unit) * unit


def _refine(squared: Array, norms: Array, left: Array, right: Array) -> None:
    i, j = np.nonzero(squared <= _CANCELLED * norms)
    step = max(1, BLOCK_VALUES // left.shape[1])
    for start in range(0, len(i), step):
        a, b = i[start : start + step], j[start : start + step]
        squared[a, b] = np.sum((left[a] - right[b]) ** 2, axis=1)
