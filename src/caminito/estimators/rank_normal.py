"""Numbers of a table as standard normals, by rank.

A value that a share of the rows has covers an interval of [0, 1] as long as that share; the normal quantile of a place
in it stands for the value. Columns on a grid, or with values that many rows share, are filled over their intervals by
uniform draws, so that they become normal too, and come back as the value whose interval they fall into: in the right
shares whatever the grid. Others go by the middles of their intervals, and come back by a line between neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

__all__ = ["ENDS", "PLACES", "RankNormal", "repeated", "straightened"]

Floats = NDArray[np.float64]

ENDS = 8192
"""Walks whose ends quantiles are measured on, at most."""

PLACES = (np.arange(200) + 0.5) / 200
"""The shares of which quantiles are kept."""

_LEAST = 1e-9  # share of [0, 1] that is left out at its ends


class RankNormal:
    """The map of each column, both ways.

    Parameters
    ----------
    matrix : array, shape (n, p), without NaN
    snapped : sequence of bool, shape (p,)
        Whether a column takes the values of the matrix alone.
    """

    def __init__(self, matrix: Floats, snapped: Sequence[bool]) -> None:
        self.snapped = list(snapped)
        self.values: list[Floats] = []
        self.edges: list[Floats] = []
        for column in matrix.T:
            values, counts = np.unique(column, return_counts=True)
            mass = np.cumsum(counts)
            self.values.append(values)
            self.edges.append(np.concatenate([[0.0], mass / mass[-1]]))

    def encode(self, matrix: Floats, u: ArrayLike = 0.5) -> Floats:
        """Standard normals, shape (B, p); `u` in [0, 1) is the place in the intervals of what is snapped."""
        share = np.empty(matrix.shape)
        place = np.broadcast_to(np.asarray(u), matrix.shape)
        for j, (values, edges) in enumerate(zip(self.values, self.edges)):
            middle = (edges[1:] + edges[:-1]) / 2
            if self.snapped[j]:
                at = np.rint(np.interp(matrix[:, j], values, np.arange(len(values)))).astype(np.intp)
                share[:, j] = edges[at] + place[:, j] * (edges[at + 1] - edges[at])
            else:
                share[:, j] = np.interp(matrix[:, j], values, middle)
        return np.asarray(ndtri(np.clip(share, _LEAST, 1 - _LEAST)))

    def decode(self, z: Floats) -> Floats:
        """Numbers within the range of the matrix, and among its values where a column is snapped."""
        share, matrix = ndtr(z), np.empty(z.shape)
        for j, (values, edges) in enumerate(zip(self.values, self.edges)):
            if self.snapped[j]:
                matrix[:, j] = values[np.searchsorted(edges[1:-1], share[:, j], side="right")]
            else:
                matrix[:, j] = np.interp(share[:, j], (edges[1:] + edges[:-1]) / 2, values)
        return matrix


def repeated(weights: Floats) -> NDArray[np.intp]:
    """Rows, those of whole weights exactly so often; by other or large weights in proportion, four for one."""
    mass = np.cumsum(weights)
    whole = bool((weights == np.rint(weights)).all()) and mass[-1] <= 10 * len(mass)
    count = len(mass) if np.ptp(weights) == 0 else int(mass[-1]) if whole else 4 * len(mass)
    even = (np.arange(count) + 0.5) / count * mass[-1]
    return np.minimum(np.searchsorted(mass, even), len(mass) - 1)


def straightened(z: Floats, ends: Floats) -> Floats:
    """Standard normals of numbers (B, p) whose columns have the quantiles `ends` (200, p).

    Beyond the outermost ones numbers are shifted alike.
    """
    normal, out = ndtri(PLACES), np.empty_like(z)
    for j, quantiles in enumerate(ends.T):
        within = np.clip(z[:, j], quantiles[0], quantiles[-1])
        out[:, j] = np.interp(within, quantiles, normal) + z[:, j] - within
    return out
