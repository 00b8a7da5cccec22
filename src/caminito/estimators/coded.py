"""A table as codes: each value by its place among those that its column has, and each row once, with its weight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from caminito.data import Column
from caminito.denoiser import Codes

__all__ = ["CodedTable", "moved_columns"]

Floats = NDArray[np.float64]


class CodedTable:
    """The different rows of an encoded table.

    Parameters
    ----------
    matrix : array, shape (n, p)
        As `TableCodec.encode` gives it; NaN is missing.
    columns : sequence of Column
    weights : array, shape (n,), optional
        Of the rows; 1 unless given.

    Attributes
    ----------
    matrix : array, shape (rows, p)
        Rows that differ, in the order of their first appearance.
    codes : int32 array, shape (rows, p); -1 is missing
    weights : array, shape (rows,)
        Of all rows that are the same.
    values : list of array
        What the codes of each column stand for, rising.
    """

    def __init__(self, matrix: Floats, columns: Sequence[Column], weights: Floats | None = None) -> None:
        self.columns = list(columns)
        self.values: list[Floats] = []
        codes = np.empty(matrix.shape, dtype=np.int32, order="F")  # read column by column
        for j, column in enumerate(matrix.T):
            values, inverse = np.unique(column, return_inverse=True)  # one NaN, the last
            count = len(values) - int(np.isnan(values[-1]))
            codes[:, j] = np.where(inverse < count, inverse, -1)
            self.values.append(values[:count])
        first, inverse = _distinct(codes)
        if len(first) < len(codes):
            codes, matrix = np.asfortranarray(codes[first]), matrix[first]
        self.codes, self.matrix = codes, matrix
        self.weights = np.bincount(inverse, weights, len(first)).astype(np.float64)
        self._known = np.sort(_hashes(self.codes))

    @property
    def ordered(self) -> list[bool]:
        """Whether the values of each column have an order."""
        return [column.kind != "category" for column in self.columns]

    def numbers(self, codes: Codes) -> Floats:
        """The matrix of codes, NaN where they are -1."""
        found = np.empty(codes.shape, order="F")
        for j, values in enumerate(self.values):
            found[:, j] = np.append(values, np.nan)[codes[:, j]]
        return found

    def places(self, matrix: Floats) -> Codes:
        """The codes of a matrix; of a number that no row has, those of the nearest that one has."""
        codes = np.empty(matrix.shape, dtype=np.int32)
        for j, column in enumerate(matrix.T):
            codes[:, j] = self.place(j, column)
        return codes

    def place(self, column: int, numbers: Floats) -> Codes:
        """The codes of numbers of one column."""
        values = self.values[column]
        after = np.clip(np.searchsorted(values, numbers), 1, max(len(values) - 1, 1))
        before = after - 1
        after = np.minimum(after, len(values) - 1)
        nearer = np.abs(numbers - values[before]) <= np.abs(values[after] - numbers)
        return np.where(np.isnan(numbers), -1, np.where(nearer, before, after)).astype(np.int32)

    def holds(self, matrix: Floats) -> NDArray[np.bool_]:
        """Which rows of a matrix are rows of the table."""
        codes = self.places(matrix)
        same = ((self.numbers(codes) == matrix) | (np.isnan(matrix) & (codes < 0))).all(axis=1)
        hashes = _hashes(codes)
        place = np.minimum(np.searchsorted(self._known, hashes), len(self._known) - 1)
        return np.asarray(same & (self._known[place] == hashes))


def _hashes(codes: Codes) -> NDArray[np.uint64]:
    """A number for each row, of 64 bits: two that differ have the same with a chance of 2^-64."""
    mixed = np.full(len(codes), 0x9E3779B97F4A7C15, dtype=np.uint64)
    for column in codes.T:
        mixed ^= column.astype(np.int64).view(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # splitmix64
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        mixed ^= mixed >> np.uint64(31)
    return mixed


def _distinct(codes: Codes) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First row of each kind, in order of appearance, and the kind of each row."""
    _, first, inverse = np.unique(_hashes(codes), return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[inverse]


def moved_columns(table: CodedTable) -> list[int]:
    """Columns that a normal noise moves: numbers of more than two values, without holes."""
    return [j for j, column in enumerate(table.columns) if _moves(column, table.matrix[:, j])]


def _moves(column: Column, numbers: Floats) -> bool:
    ordered = column.kind not in ("category", "boolean")
    return ordered and column.distinct > 2 and not np.isnan(numbers).any()
