"""What every picture asks of its arrays: numbers, at least one, finite, in shapes that fit together."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caminito._errors import DataError, ShapeError

__all__ = ["Values", "checked", "densities", "rising"]

Values = NDArray[np.float64]


def checked(**given: tuple[ArrayLike, str]) -> list[Values]:
    """Arrays in float64, in the order given.

    Parameters
    ----------
    given : (array, shape)
        An array under its name, with its shape in words: in "times paths" two axes of any length, of the same length
        wherever the word recurs. A whole number is a length. One axis of length 1 too many at the end is dropped.

    Returns
    -------
    list of float64 arrays

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    DataError
        If an array is empty, or has entries that are no finite numbers.
    """
    known: dict[str, tuple[int, str]] = {}
    found = []
    for name, (values, shape) in given.items():
        words = shape.split()
        array = _numbers(name, values)
        if array.ndim == len(words) + 1 and array.shape[-1] == 1:
            array = array[..., 0]
        if array.ndim != len(words):
            raise ShapeError(f"{name}: expected shape {_written(words)}, got {np.shape(values)}.")
        if array.size == 0:
            raise DataError(f"{name}: expected at least one number, got none (shape {np.shape(values)}).")
        for word, length in zip(words, array.shape):
            wanted, source = (int(word), "") if word.isdigit() else known.setdefault(word, (length, name))
            if length != wanted:
                why = f" with {word} = {wanted} as in {source}" if source else ""
                raise ShapeError(f"{name}: expected shape {_written(words)}{why}, got {np.shape(values)}.")
        found.append(_finite(name, array))
    return found


def rising(name: str, values: Values) -> Values:
    """The values again, if each is larger than the one before it."""
    if not (np.diff(values) > 0).all():
        raise DataError(f"{name}: expected numbers that increase along the last axis. Sort them.")
    return values


def densities(name: str, values: Values) -> Values:
    """The values again, if none is negative."""
    if (values < 0).any():
        raise DataError(f"{name}: expected densities >= 0, got {float(values.min()):.3g}. Exponentiate log-densities.")
    return values


def _numbers(name: str, values: ArrayLike) -> NDArray[np.generic]:
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of several lengths
        raise ShapeError(f"{name}: expected an array, got rows of several lengths.") from error
    if array.dtype.kind not in "buif":
        raise DataError(f"{name}: expected numbers, got dtype {array.dtype}.")
    return array


def _finite(name: str, array: NDArray[np.generic]) -> Values:
    values = array.astype(np.float64)
    bad = int(np.sum(~np.isfinite(values)))
    if bad:
        raise DataError(f"{name}: expected finite numbers, got {bad} NaN or infinite of {values.size}. Leave them out.")
    return values


def _written(words: list[str]) -> str:
    return f"({', '.join(words)}{',' if len(words) == 1 else ''})"
