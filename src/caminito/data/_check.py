"""What an array must be before anything is learnt from it, said once for sources and codecs.

Nothing is repaired: a NaN, a mask, a missing item is reported with its place, and the caller decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from caminito._errors import DataError, ShapeError

__all__ = ["as_array", "check_finite", "check_learnable", "row_chunks"]

_CHUNK_VALUES = 1 << 20  # values looked at together: small enough to stay in cache, large enough to hide the loop

_WHY_NOT = {
    "c": "Complex data not supported. Give the real and imaginary parts as two channels",
    "O": "Python objects cannot be learnt from. Convert with numpy.asarray(X, dtype=float) and look at what fails",
    "U": "Text cannot be learnt from as numbers. Encode it first, or pass it as a condition",
    "S": "Text cannot be learnt from as numbers. Encode it first, or pass it as a condition",
    "M": "Dates have no scale. Convert them to numbers, e.g. days since a date",
    "m": "Durations have no unit here. Convert them to numbers, e.g. seconds",
    "V": "Structured arrays are not read. Give one plain array",
}


def row_chunks(count: int, values_per_row: int) -> Iterator[slice]:
    """Slices that cover `count` rows in pieces of about a million values."""
    rows = max(1, _CHUNK_VALUES // max(values_per_row, 1))
    for start in range(0, count, rows):
        yield slice(start, min(start + rows, count))


def as_array(X: Any, *, name: str = "X") -> NDArray[Any]:
    """A real, dense numpy array of at least one axis; no copy where X is one already.

    Raises
    ------
    DataError
        If X is sparse, masked, ragged, or holds anything but real numbers.
    """
    if sparse.issparse(X):
        raise DataError(f"{name}: expected a dense array, got a sparse {type(X).__name__}. Pass {name}.toarray().")
    if isinstance(X, np.ma.MaskedArray) and np.ma.is_masked(X):
        raise DataError(
            f"{name}: expected complete data, got a masked array with {int(np.ma.count_masked(X))} values hidden. "
            "Fill or drop them first."
        )
    try:
        array = np.asarray(X)
    except ValueError as error:
        raise DataError(f"{name}: expected items of one shape, got a ragged sequence ({error}).") from error
    if array.dtype.kind not in "biuf":
        reason = _WHY_NOT.get(array.dtype.kind, "Give real numbers")
        raise DataError(f"{name}: expected real numbers, got dtype {array.dtype}. {reason}.")
    if array.ndim == 0:
        raise ShapeError(f"{name}: expected an array with one item per row, got a single number.")
    return array


def check_finite(array: NDArray[Any], *, name: str = "X") -> None:
    """Raise a `DataError` that counts the NaN and infinite values and says where the first one is."""
    if array.dtype.kind != "f":
        return
    nan = infinite = 0
    first: tuple[int, ...] | None = None
    for rows in row_chunks(len(array), array[:1].size):
        piece = array[rows]
        finite = np.isfinite(piece)
        if finite.all():
            continue
        if first is None:
            index = np.unravel_index(int(np.argmin(finite)), finite.shape)
            first = (rows.start + int(index[0]), *(int(i) for i in index[1:]))
        missing = int(np.isnan(piece).sum())
        nan += missing
        infinite += int(finite.size - finite.sum()) - missing
    if first is not None:
        raise DataError(
            f"{name}: expected finite numbers, got {nan} NaN and {infinite} infinite (inf) of {array.size} values; "
            f"the first is at index {list(first)}. Drop those items or fill them in: nothing is repaired silently."
        )


def check_learnable(array: NDArray[Any], *, name: str = "X") -> None:
    """Raise a `DataError` unless there are two items at least, finite, and not all the same."""
    count = len(array)
    if array.size == 0:
        raise DataError(f"{name}: expected at least 2 items, got an empty array of shape {array.shape}.")
    if count < 2:
        raise DataError(
            f"{name}: expected at least 2 items to learn a distribution from, got 1 item (n_samples=1). "
            "Give more data; hundreds at least are needed for samples worth looking at."
        )
    check_finite(array, name=name)
    first = array[:1]
    if all(bool((array[rows] == first).all()) for rows in row_chunks(count, first.size)):
        raise DataError(
            f"{name}: expected items that differ, got {count} identical (constant) ones. "
            "There is no distribution to learn; check how the array was made."
        )
