"""Sliced Wasserstein distance: transport along straight lines only, where sorting solves it.

    SW2(x, y)^2 = E_u W2^2(<u, x>, <u, y>),   u uniform on the unit sphere,

    W2^2(p, q) = integral_0^1 (F_p^-1(s) - F_q^-1(s))^2 ds.

Source: Bonneel et al. 2015, "Sliced and Radon Wasserstein barycenters of measures".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from caminito._errors import ConfigError
from caminito.metrics import _rows
from caminito.metrics._rows import Array, Rows

__all__ = ["sliced_wasserstein"]


def sliced_wasserstein(x: ArrayLike, y: ArrayLike, *, projections: int = 128, seed: int = 0) -> float:
    """Sliced 2-Wasserstein distance of two sets of items.

    Parameters
    ----------
    x, y : array, shapes (n, ...) and (m, ...)
        Two sets of events of one size; n and m may differ.
    projections : int
        How many random directions are averaged over.
    seed : int
        Of the directions; two calls with one seed use the same ones.

    Returns
    -------
    float
        In data units; 0 means equal along every direction tried. Two samples of one law give about the floor of their
        sizes, not 0.

    Raises
    ------
    ConfigError
        If `projections` < 1.
    DataError, NonFiniteError, ShapeError
        If the sets cannot be compared.

    Notes
    -----
    Exact in each direction, for unequal sizes too (the two quantile functions are steps, and are integrated as such);
    Monte Carlo over directions. Source: Bonneel et al. 2015, eq. 9.

    Examples
    --------
    >>> round(sliced_wasserstein([[0.0], [1.0]], [[3.0], [4.0]]), 12)
    3.0
    """
    first, second = _rows.pair_of_rows(x, y, least=1)
    if projections < 1:
        raise ConfigError(f"projections: expected at least 1, got {projections}. 128 is a good number.")
    directions = np.random.default_rng(seed).standard_normal((first.shape[1], projections))
    directions /= np.linalg.norm(directions, axis=0)
    i, j, mass = _common_quantiles(len(first), len(second))
    step = max(1, _rows.BLOCK_VALUES // len(i))
    total = 0.0
    for start in range(0, projections, step):
        some = directions[:, start : start + step]
        gap = np.sort(_project(first, some), axis=0)[i] - np.sort(_project(second, some), axis=0)[j]
        total += float(np.sum(mass @ gap**2))
    return float(np.sqrt(total / projections))


def _project(rows: Rows, directions: Array) -> Array:
    return np.concatenate([block @ directions for _, block in _rows.blocks(rows)])


def _common_quantiles(n: int, m: int) -> tuple[np.ndarray, np.ndarray, Array]:
    """Where both quantile functions are constant: the index into each sorted set, and the mass of the piece."""
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)  # levels times n m, in whole numbers
    starts = np.concatenate([[0], ends[:-1]])
    return starts // m, starts // n, (ends - starts) / (n * m)
