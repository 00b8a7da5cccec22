"""Which items are kept aside to judge the model: a function of (n, fraction, seed) alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from caminito._errors import ConfigError, DataError
from caminito._random import Stream, permutation

__all__ = ["holdout"]

Indices = NDArray[np.int64]


def holdout(n: int, fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Indices to train on and indices to validate on: disjoint, ascending, together 0..n-1.

    round(fraction n) items are held out, at least 1 and at most n - 1.

    Raises
    ------
    DataError
        If there are fewer than two items.
    ConfigError
        If the fraction is not between 0 and 1.
    """
    if n < 2:
        raise DataError(f"holdout: expected at least 2 items (one to train on, one to judge by), got {n}.")
    if not 0.0 < fraction < 1.0:
        raise ConfigError(f"holdout: expected a fraction between 0 and 1, exclusive, got {fraction}.")
    held = min(max(round(fraction * n), 1), n - 1)
    order = permutation(seed, Stream.SPLIT, 0, n).numpy()
    return np.sort(order[held:]), np.sort(order[:held])
