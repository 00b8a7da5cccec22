"""Draws of a sampler beside the truth: shapes that fit, and what is between the two, a block of entries at a time.

`draws`, shape (m, n, ...), are m draws for each of n cases, and `truth`, shape (n, ...), is what was so in each. Only
the errors e = draws - truth are looked at: a draw lies below the truth where e < 0 and ties with it where e = 0, and
that is exact. An entry of the truth that is NaN is not scored, whatever the draws are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caminito._errors import DataError, NonFiniteError, ShapeError
from caminito.metrics import _rows
from caminito.metrics._rows import Array

__all__ = ["Cases", "Place", "as_cases", "as_numbers", "ranks"]

Place = tuple[slice, slice]


@dataclass(frozen=True)
class Cases:
    """m draws for n cases of `size` entries, and their truth.

    Attributes
    ----------
    draws : array, shape (m, n, size)
        Not yet cast; finite where the truth is known.
    truth : float64 array, shape (n, size)
        NaN where it is not known.
    """

    draws: NDArray[np.generic]
    truth: Array

    @property
    def known(self) -> NDArray[np.bool_]:
        """Entries that are scored, shape (n, size)."""
        return ~np.isnan(self.truth)

    def errors(self) -> Iterator[tuple[Place, Array]]:
        """`(entries, draws - truth there)`, shape (m, rows, columns), in order; 0 where the truth is not known."""
        for place in _places(*self.draws.shape):
            error = self.draws[:, *place].astype(np.float64)
            error -= self.truth[place]
            error[:, np.isnan(self.truth[place])] = 0.0
            yield place, error

    def events(self) -> Iterator[Array]:
        """The errors of one case after the other, shape (m, size) each; of those that have an entry to score."""
        known = self.known
        for i in np.flatnonzero(known.any(axis=1)):
            error = self.draws[:, i].astype(np.float64)
            error -= self.truth[i]
            error[:, ~known[i]] = 0.0
            yield error


def as_cases(draws: ArrayLike, truth: ArrayLike) -> Cases:
    """`draws`, shape (m, n, ...), and `truth`, shape (n, ...), as cases of entries in a row.

    Raises
    ------
    DataError
        If one of them holds no numbers, there are fewer than two draws, or no truth is known.
    ShapeError
        If they do not fit together.
    NonFiniteError
        If the truth is infinite somewhere, or a draw is NaN or infinite where the truth is known.
    """
    drawn, true = as_numbers("draws", draws), as_numbers("truth", truth)
    if true.ndim == 0 or drawn.shape[1:] != true.shape:
        raise ShapeError(
            f"draws and truth: expected shapes (m, n, ...) and (n, ...), got {drawn.shape} and {true.shape}. "
            f"{_remedy(drawn.shape, true.shape)}"
        )
    if len(drawn) < 2:
        raise DataError(
            f"draws: expected at least 2 draws for each case along the first axis, got {len(drawn)}. One draw has no "
            "spread; draw more."
        )
    if true.size == 0:
        raise DataError(f"truth: expected at least one entry, got shape {true.shape}.")
    cases = Cases(drawn.reshape(len(drawn), len(true), -1), true.reshape(len(true), -1).astype(np.float64))
    infinite = int(np.isinf(cases.truth).sum())
    if infinite:
        raise NonFiniteError(
            f"truth: expected finite numbers, or NaN for what is not to be scored, got {infinite} infinite."
        )
    known = cases.known
    if not known.any():
        raise DataError("truth: expected at least one entry that is not NaN, got none. Nothing can be scored.")
    if drawn.dtype.kind == "f":
        places = _places(*cases.draws.shape)
        bad = sum(int(np.sum(~np.isfinite(cases.draws[:, *place]) & known[place])) for place in places)
        if bad:
            raise NonFiniteError(
                f"draws: expected finite numbers wherever the truth is known, got {bad} NaN or infinite. Find out why "
                "the sampler failed there; a score without them would flatter it."
            )
    return cases


def as_numbers(name: str, values: ArrayLike) -> NDArray[np.generic]:
    """The values as an array, if they are real numbers."""
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of several lengths
        raise ShapeError(f"{name}: expected an array, got rows of several lengths.") from error
    if array.dtype.kind not in "buif":
        raise DataError(f"{name}: expected an array of real numbers, got dtype {array.dtype}. Encode it first.")
    return array


def ranks(cases: Cases) -> tuple[Array, Array]:
    """How many draws lie below the truth, and how many tie with it; whole numbers, shape (n, size) both."""
    below, ties = np.empty(cases.truth.shape), np.empty(cases.truth.shape)
    for place, error in cases.errors():
        below[place], ties[place] = (error < 0).sum(axis=0), (error == 0).sum(axis=0)
    return below, ties


def _remedy(drawn: tuple[int, ...], true: tuple[int, ...]) -> str:
    if true and drawn == true:
        return "Give each case an axis of draws, the first one."
    if true and len(drawn) == len(true) + 1 and (drawn[0], *drawn[2:]) == true:
        return "Draws come first: np.moveaxis(draws, 1, 0)."
    return "Each case needs as many numbers in its truth as in a draw."


def _places(m: int, n: int, size: int) -> Iterator[Place]:
    """All entries, row after row, as blocks that hold about `BLOCK_VALUES` numbers of all draws together."""
    step = max(1, _rows.BLOCK_VALUES // m)
    tall, wide = max(1, step // size), min(step, size)
    for row in range(0, n, tall):
        for column in range(0, size, wide):
            yield slice(row, row + tall), slice(column, column + wide)
