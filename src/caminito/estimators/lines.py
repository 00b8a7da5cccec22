"""Least squares of every column of a table from all others, at once.

With P = (Z'WZ + a I)^-1 of standardised columns Z and weights W of the rows, the ridge regression of column j on the
others has the slopes -P_kj / P_jj and leaves (Z P)_ij / P_jj of entry ij, since P says each column given the others.
Left out of its own regression, row i would leave that over 1 - h_ij, where

    h_ij = w_i (z_i' P z_i - (Z P)_ij^2 / P_jj + 1 / sum(w))

so one inverse for each a says what every line leaves of every entry, and which a leaves least of a column.
Source: Lauritzen 1996, section 5.1 (P and regressions); Allen 1974 (rows left out); Rubin 1981 (draws of the weights).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from caminito._random import Stream
from caminito.denoiser import Codes
from caminito.estimators.coded import CodedTable

__all__ = ["Lines", "TableLines", "least_squares"]

Floats = NDArray[np.float64]

_RIDGES = np.geomspace(1e-5, 1, 11)  # shares of the rows
_ROWS, _WIDE = 5000, 300  # that lines are drawn through, and columns, at most
_STEP = 3  # of its draws, apart from those of trees


class Lines(NamedTuple):
    """Of each column, the line through the others.

    Attributes
    ----------
    mean, scale : array, shape (m,)
    slopes : array, shape (m, m)
        Of standardised column j from the others: column j, 0 at place j.
    """

    mean: Floats
    scale: Floats
    slopes: Floats

    def said(self, matrix: Floats, place: int) -> Floats:
        """One column from the others of a matrix (B, m), standardised; of each row by itself, to the last bit."""
        found = np.zeros(len(matrix))
        for column, slope in zip(range(matrix.shape[1]), self.slopes[:, place] / self.scale):
            found += slope * (matrix[:, column] - self.mean[column])
        return found

    def standard(self, numbers: Floats, place: int) -> Floats:
        """Numbers of one column, standardised."""
        return np.asarray((numbers - self.mean[place]) / self.scale[place])

    def number(self, standard: Floats, place: int) -> Floats:
        """The other way."""
        return np.asarray(standard * self.scale[place] + self.mean[place])


def least_squares(matrix: Floats, weights: Floats) -> tuple[Lines, Floats]:
    """Lines of a matrix (n, m) without NaN whose rows were seen so often; and what the line through all other rows
    leaves of each standardised entry, shape (n, m).
    """
    total, m = weights.sum(), matrix.shape[1]
    mean = np.average(matrix, axis=0, weights=weights)
    scale = np.sqrt(np.average((matrix - mean) ** 2, axis=0, weights=weights))
    scale = np.where(np.ptp(matrix, axis=0) > 0, scale, 1.0)
    z = (matrix - mean) / scale
    gram = (z * weights[:, None]).T @ z
    least, slopes, left = np.full(m, np.inf), np.zeros((m, m)), z.copy()
    for share in _RIDGES:
        precision = np.linalg.inv(gram + share * total * np.eye(m))
        own = np.diagonal(precision)
        said = z @ precision
        lever = weights[:, None] * ((said * z).sum(axis=1, keepdims=True) - said**2 / own + 1 / total)
        remains = said / own / (1 - lever)
        error = np.average(remains**2, axis=0, weights=weights)
        better = error < least
        least, slopes = np.where(better, error, least), np.where(better, -precision / own, slopes)
        left = np.where(better, remains, left)
    np.fill_diagonal(slopes, 0.0)
    return Lines(mean, scale, slopes), left


class TableLines:
    """Lines through the numbers of a table, as often as asked, each time with another draw of the weights of the rows.

    Parameters
    ----------
    table : CodedTable
    codes : int32 array, shape (rows, p)
        Of its rows, without holes.
    among : sequence of int
        Columns; numbers and what else has an order are taken, or none where they are more than 300.
    seed : int
    """

    def __init__(self, table: CodedTable, codes: Codes, among: Sequence[int], seed: int) -> None:
        columns = [j for j in among if table.ordered[j] and len(table.values[j]) > 1]
        self.columns = columns if len(columns) <= _WIDE else []
        self._table, self._codes, self._seed = table, codes, seed
        self._few = len(codes) <= _ROWS
        self._drawn: dict[int, tuple[Lines, Floats]] = {}

    def numbers(self, codes: Codes) -> Floats:
        """Of its columns."""
        return self._table.numbers(codes)[:, self.columns]

    def standard(self, number: int, column: int, rows: NDArray[np.intp]) -> Floats:
        """Standardised numbers of rows of the table in which a column was observed."""
        return self._of(number)[0].standard(self._table.matrix[rows, column], self.columns.index(column))

    def left(self, number: int, column: int, rows: NDArray[np.intp]) -> Floats:
        """What lines leave of those, each of them without the row itself; of more than 5000 a row says little."""
        lines, left = self._of(number)
        place = self.columns.index(column)
        if self._few:
            return left[rows, place]
        return self.standard(number, column, rows) - lines.said(self.numbers(self._codes[rows]), place)

    def said(self, number: int, column: int, numbers: Floats) -> Floats:
        """What lines say of a column, standardised, shape (B,); from numbers of all, shape (B, m)."""
        return self._of(number)[0].said(numbers, self.columns.index(column))

    def place(self, number: int, column: int, standard: Floats) -> Codes:
        """The codes of the values that are nearest to what was standardised."""
        return self._table.place(column, self._of(number)[0].number(standard, self.columns.index(column)))

    def _of(self, number: int) -> tuple[Lines, Floats]:
        if number not in self._drawn:
            rng, rows = np.random.default_rng([self._seed, Stream.TABLE, _STEP, number]), len(self._codes)
            some = np.arange(rows) if self._few else np.sort(rng.choice(rows, _ROWS, replace=False))
            weights = np.maximum(rng.gamma(self._table.weights[some]), 1e-12)
            lines, left = least_squares(self.numbers(self._codes[some]), weights)
            self._drawn[number] = lines, left if self._few else np.empty((0, len(self.columns)))
        return self._drawn[number]
