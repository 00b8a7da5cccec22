"""Copy gauge: are the samples new, or are they the training items again?

Fresh data lie as far from the training items as from any other equally large set of real items. So the gauge is

    ratio = median distance of a sample to its nearest training item / to its nearest held-out item

and its floor is the same ratio for the held-out items themselves (each without itself), which also answers for training
and held-out sets of different size. Memorised samples have a ratio near 0; fresh ones have that of the floor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caminito._errors import ConfigError
from caminito.metrics._rows import Array, Rows, distance_blocks, pair_of_rows

__all__ = ["CopyGauge", "copy_gauge", "nearest_items"]


@dataclass(frozen=True)
class CopyGauge:
    """How close samples come to training items, beside what held-out items do.

    Attributes
    ----------
    ratio : float
        Median nearest-train distance over median nearest-held-out distance, of the samples; 0 = copies.
    floor : float
        The same of the held-out items: what fresh real data give (1 for equally large sets).
    to_train, to_held_out : float
        The two medians of `ratio`, in data units.
    held_out_to_train : float
        Median distance of a held-out item to its nearest training item.
    close : int
        Samples nearer to a training item than 99 % of held-out items are.
    close_expected : float
        How many fresh data of that number would be.
    exact : int
        Samples equal to a training item in every number.
    n_samples : int
        How many samples were judged.
    """

    ratio: float
    floor: float
    to_train: float
    to_held_out: float
    held_out_to_train: float
    close: int
    close_expected: float
    exact: int
    n_samples: int


def copy_gauge(samples: ArrayLike, train: ArrayLike, held_out: ArrayLike, *, quantile: float = 0.01) -> CopyGauge:
    """Compare the samples' distance to the training items with their distance to items no model has seen.

    Parameters
    ----------
    samples, train, held_out : array, shapes (n, ...), (m, ...), (h, ...)
        Events of one size; `train` is what the model was fitted to, all of it.
    quantile : float
        `close` counts samples below this quantile of the held-out items' nearest-train distances.

    Returns
    -------
    CopyGauge

    Raises
    ------
    ConfigError
        If `quantile` is not inside (0, 1).
    DataError, NonFiniteError, ShapeError
        If the sets cannot be compared.

    Notes
    -----
    Exact (all pairs are looked at). Samples that are blurred or collapsed are near to *everything*: they do not move
    the ratio, which is why it is preferred to the bare distance to the training items.
    """
    if not 0.0 < quantile < 1.0:
        raise ConfigError(f"quantile: expected a number between 0 and 1, got {quantile}.")
    ours, seen = pair_of_rows(samples, train, names=("samples", "train"), least=1)
    unseen, _ = pair_of_rows(held_out, train, names=("held_out", "train"))
    to_train, to_held_out = _nearest(ours, seen)[1], _nearest(ours, unseen)[1]
    fresh_to_train, fresh_to_fresh = _nearest(unseen, seen)[1], _nearest(unseen, unseen, others=True)[1]
    bound = float(np.quantile(fresh_to_train, quantile))
    return CopyGauge(
        ratio=_ratio(to_train, to_held_out),
        floor=_ratio(fresh_to_train, fresh_to_fresh),
        to_train=float(np.median(to_train)),
        to_held_out=float(np.median(to_held_out)),
        held_out_to_train=float(np.median(fresh_to_train)),
        close=int(np.sum(to_train < bound)),
        close_expected=float(np.mean(fresh_to_train < bound)) * len(ours),
        exact=int(np.sum(to_train == 0.0)),
        n_samples=len(ours),
    )


def nearest_items(samples: ArrayLike, items: ArrayLike) -> tuple[NDArray[np.int64], Array]:
    """Nearest item of each sample: its index in `items`, shape (n,), and its Euclidean distance in data units, (n,).

    Of equally near items the first is named. Exact.
    """
    return _nearest(*pair_of_rows(samples, items, names=("samples", "items"), least=1))


def _nearest(x: Rows, y: Rows, *, others: bool = False) -> tuple[NDArray[np.int64], Array]:
    index, distance = np.empty(len(x), dtype=np.int64), np.empty(len(x))
    for some, squared in distance_blocks(x, y):
        if others:
            squared[np.arange(len(squared)), np.arange(some.start, some.stop)] = np.inf
        index[some] = np.argmin(squared, axis=1)
        distance[some] = np.sqrt(np.min(squared, axis=1))
    return index, distance


def _ratio(above: Array, below: Array) -> float:
    top, bottom = float(np.median(above)), float(np.median(below))
    if bottom == 0.0:
        return 1.0 if top == 0.0 else math.inf
    return top / bottom
