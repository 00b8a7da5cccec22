"""Least squares of every column of a table from all others, at once.

With P = (Z'Z + a I)^-1 of standardised columns Z, the ridge regression of column j on the others has the slopes
-P_kj / P_jj and leaves (Z P)_ij / P_jj of entry ij, since P says each column given the others. Left out of its own
regression, row i would leave that over 1 - h_ij, where

    h_ij = w_i (z_i' P z_i - (Z P)_ij^2 / P_jj + 1 / sum(w))

so one inverse for each a says what every line leaves of every entry, and which a leaves least of a column.
Source: Lauritzen 1996, section 5.1 (P and regressions); Golub, Heath and Wahba 1979 (rows left out).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Lines"]

Floats = NDArray[np.float64]

_RIDGES = np.geomspace(1e-5, 1, 11)  # shares of the rows


@dataclass(frozen=True)
class Lines:
    """The lines of a matrix.

    Attributes
    ----------
    mean, scale : array, shape (m,)
    slopes : array, shape (m, m)
        Of standardised column j from the others: column j, 0 at place j.
    left : array, shape (n, m)
        What the line through all other rows leaves of each standardised entry.
    """

    mean: Floats
    scale: Floats
    slopes: Floats
    left: Floats

    @classmethod
    def of(cls, matrix: Floats, weights: Floats) -> Lines:
        """Lines of a matrix (n, m) without NaN, whose rows were seen so often."""
        total, m = weights.sum(), matrix.shape[1]
        mean = np.average(matrix, axis=0, weights=weights)
        scale = np.sqrt(np.average((matrix - mean) ** 2, axis=0, weights=weights))
        scale = np.where(scale > 0, scale, 1.0)
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
        return cls(mean, scale, slopes, left)

    def said(self, matrix: Floats, place: int) -> Floats:
        """One column from the others of a matrix (B, m), in the units of the lines."""
        return np.asarray(((matrix - self.mean) / self.scale) @ self.slopes[:, place])

    def standard(self, numbers: Floats, place: int) -> Floats:
        """Numbers of one column in those units."""
        return np.asarray((numbers - self.mean[place]) / self.scale[place])

    def number(self, standard: Floats, place: int) -> Floats:
        """Numbers of one column from those units."""
        return np.asarray(standard * self.scale[place] + self.mean[place])
