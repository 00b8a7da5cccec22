"""Two-sample distances that compare all pairs: energy distance and maximum mean discrepancy.

    energy(x, y)^2 = 2 E|X - Y| - E|X - X'| - E|Y - Y'|
    MMD^2(x, y)    = E k(X, X') + E k(Y, Y') - 2 E k(X, Y),   k(a, b) = exp(-|a - b|^2 / (2 bandwidth^2))

Both are 0 exactly when the two laws are equal. Source: Szekely & Rizzo 2013; Gretton et al. 2012.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from caminito._errors import ConfigError, DataError
from caminito.metrics._rows import Array, Rows, distance_blocks, pair_of_rows

__all__ = ["energy_distance", "median_distance", "mmd"]


def energy_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Energy distance of two sets of items, the square root of the formula above.

    Parameters
    ----------
    x, y : array, shapes (n, ...) and (m, ...)
        Two sets of events of one size.

    Returns
    -------
    float
        In square roots of data units, as in `scipy.stats.energy_distance`; never negative, 0 for equal sets.

    Raises
    ------
    DataError, NonFiniteError, ShapeError
        If the sets cannot be compared.

    Notes
    -----
    Exact between the two sets (V-statistic, so two samples of one law give about their floor, not 0).
    Source: Szekely & Rizzo 2013, eq. 6.1.
    """
    first, second = pair_of_rows(x, y, least=1)
    across = _sum(first, second, np.sqrt) / (len(first) * len(second))
    within = sum(_sum(rows, rows, np.sqrt) / len(rows) ** 2 for rows in (first, second))
    return float(np.sqrt(max(0.0, 2.0 * across - within)))


def mmd(x: ArrayLike, y: ArrayLike, *, bandwidth: float | None = None) -> float:
    """Squared maximum mean discrepancy with a Gaussian kernel, unbiased.

    Parameters
    ----------
    x, y : array, shapes (n, ...) and (m, ...)
        Two sets of events of one size, at least two each.
    bandwidth : float, optional
        Standard deviation of the kernel, in data units; by default `median_distance(x, y)`. Give one number to compare
        several sets with each other.

    Returns
    -------
    float
        MMD^2, without unit; its mean is 0 when the two laws are equal, so it can be negative.

    Raises
    ------
    ConfigError
        If `bandwidth` is not positive.
    DataError, NonFiniteError, ShapeError
        If the sets cannot be compared.

    Notes
    -----
    Source: Gretton et al. 2012, eq. 3 (U-statistic).
    """
    first, second = pair_of_rows(x, y)
    width = median_distance(x, y) if bandwidth is None else float(bandwidth)
    if not width > 0 or not np.isfinite(width):
        raise ConfigError(f"bandwidth: expected a positive number in data units, got {bandwidth}. Try None.")

    def kernel(squared: Array) -> Array:
        return np.exp(squared / (-2.0 * width**2))

    within = sum((_sum(rows, rows, kernel) - len(rows)) / (len(rows) * (len(rows) - 1)) for rows in (first, second))
    return float(within - 2.0 * _sum(first, second, kernel) / (len(first) * len(second)))


def median_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Median distance between different items of the two sets together: the usual bandwidth of `mmd`.

    At most 1000 evenly spaced items of each set are looked at.

    Raises
    ------
    DataError
        If more than half of the pairs coincide, so that the median is 0.
    """
    few = np.concatenate([rows[:: -(-len(rows) // 1000)].astype(np.float64) for rows in pair_of_rows(x, y)])
    above = [block[np.arange(len(few)) > np.arange(len(few))[part, None]] for part, block in distance_blocks(few, few)]
    median = float(np.sqrt(np.median(np.concatenate(above))))
    if median == 0.0:
        raise DataError(
            "the median distance between items is 0: more than half of all pairs coincide. Give a `bandwidth` that "
            "suits the data."
        )
    return median


def _sum(x: Rows, y: Rows, of: Callable[[Array], Array]) -> float:
    return float(np.sum([np.sum(of(block)) for _, block in distance_blocks(x, y)]))
