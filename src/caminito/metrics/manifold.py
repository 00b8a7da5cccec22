"""Precision and recall of samples: how many look real, and how much of the real is reached.

The region of a set is the union of balls around its items, each reaching to its k-th nearest neighbour in the set.

    precision = share of fakes inside the region of the reals
    recall    = share of reals inside the region of the fakes

Source: Kynkaanniemi et al. 2019, "Improved precision and recall metric for assessing generative models".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caminito._errors import ConfigError
from caminito.metrics._rows import Array, Rows, distance_blocks, equal_sizes, pair_of_rows

__all__ = ["PrecisionRecall", "precision_recall"]


class PrecisionRecall(NamedTuple):
    """Two shares in [0, 1]: `precision` of the fakes, `recall` of the reals."""

    precision: float
    recall: float


def precision_recall(real: ArrayLike, fake: ArrayLike, *, neighbours: int = 5) -> PrecisionRecall:
    """Share of fakes that look real, and share of reals that the fakes reach.

    Parameters
    ----------
    real, fake : array, shape (n, ...)
        n events each: both figures grow with the number of items, so the two sets must be equally large.
    neighbours : int
        A ball reaches to this many-th neighbour; larger is milder.

    Returns
    -------
    PrecisionRecall
        Two real halves give the floor of the size (digits, 898 against 898, 5 neighbours: .958, .957), not 1.

    Raises
    ------
    ConfigError
        If `neighbours` is not in 1 .. n - 1.
    DataError, NonFiniteError, ShapeError
        If the sets cannot be compared, or differ in length.

    Notes
    -----
    Exact. Swapping the two sets swaps the two figures. Source: Kynkaanniemi et al. 2019, eq. 1-3.
    """
    first, second = pair_of_rows(real, fake, names=("real", "fake"))
    equal_sizes(first, second, names=("real", "fake"))
    if not 1 <= neighbours < len(first):
        raise ConfigError(f"neighbours: expected 1 to {len(first) - 1} (items per set, less one), got {neighbours}.")
    real_reach, fake_reach = _reach(first, neighbours), _reach(second, neighbours)
    reached: NDArray[np.bool_] = np.empty(len(first), dtype=bool)
    looks_real: NDArray[np.bool_] = np.zeros(len(second), dtype=bool)
    for some, squared in distance_blocks(first, second):
        reached[some] = np.any(squared <= fake_reach, axis=1)
        looks_real |= np.any(squared <= real_reach[some, None], axis=0)
    return PrecisionRecall(float(looks_real.mean()), float(reached.mean()))


def _reach(rows: Rows, neighbours: int) -> Array:
    """Squared distance of each row to its `neighbours`-th nearest other row."""
    reach = np.empty(len(rows))
    for some, squared in distance_blocks(rows, rows):
        squared[np.arange(len(squared)), np.arange(some.start, some.stop)] = np.inf
        reach[some] = np.partition(squared, neighbours - 1, axis=1)[:, neighbours - 1]
    return reach
